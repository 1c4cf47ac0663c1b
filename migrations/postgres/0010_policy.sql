-- A list's policy as JSON (list::settings::Policy); empty: what its style starts with.
alter table list add column policy text not null default '';

-- Rights that an address was given by itself, as bits (1 browse, 2 reply, 4 post, 8 moderate).
create table access (
    list bigint not null references list (id),
    address text collate "C" not null,
    bits bigint not null,
    made bigint not null,
    primary key (list, address)
);

-- Addresses and domains of which a list takes no mail; list 0: no list does.
create table ban (
    list bigint not null,
    name text collate "C" not null,
    why text not null,
    made bigint not null,
    primary key (list, name)
);

-- receipt.state has two more values: 3 held, 4 rejected or dropped after it was held: a resend changes nothing.
-- `stranger` 1: the list did not know its sender. `send_at`: copies wait until then, and the time to give up counts from there.
alter table receipt add column stranger bigint not null default 0;
alter table receipt add column send_at bigint not null default 0;
create index receipt_stranger on receipt (list, arrived) where stranger = 1;

-- Whose mail a list has seen.
create index mail_author on mail (realm, lower(address));

-- A mail that a person looks at first: it has no number and no place in a thread. `shape`, `root` and `sending` say which are
-- one series (list::held::SeriesKey); `level` 1: the domain in From speaks for it; `told` 1: the moderators know of it.
create table held (
    receipt bigint primary key references receipt (id),
    list bigint not null references list (id),
    realm bigint not null,
    identity bytea not null,
    hash bytea not null,
    message_id text collate "C" not null,
    subject text collate "C" not null,
    author text collate "C" not null,
    address text collate "C" not null,
    size bigint not null,
    arrived bigint not null,
    reason text not null,
    verdict text not null,
    level bigint not null,
    shape text collate "C" not null,
    root text collate "C" not null,
    sending text collate "C" not null,
    told bigint not null
);
create index held_list on held (list, receipt);
create index held_arrived on held (arrived);

-- What is left to do after mails were taken back: refs of versions to delete (`mail` 0), and mails to group anew (`patchset` 0).
create table aftermath (
    realm bigint not null,
    patchset bigint not null,
    label text collate "C" not null,
    mail bigint not null,
    primary key (realm, patchset, label, mail)
);

-- Mails that were redacted or purged: they do not come back, by whatever way and to whatever list.
create table denied (identity bytea primary key, made bigint not null);
