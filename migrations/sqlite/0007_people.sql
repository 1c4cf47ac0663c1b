-- kind: person, or archive, whose copies carry no token. nodupes null: as the list's style has it. own 0: no copy of one's own posts.
alter table member add column kind text not null default 'person';
alter table member add column nodupes bigint;
alter table member add column own bigint not null default 1;

-- Addresses of one person, linked because each of them was confirmed. An address that is linked to none has no row.
create table person (id integer primary key autoincrement, created bigint not null);
create table person_address (address text primary key, person bigint not null references person (id));
create index person_address_person on person_address (person);

-- What an address was asked to confirm. `other`: the address that wants to be linked with it. `done` 1: it was used.
create table confirmation (
    nonce bigint primary key,
    list bigint not null,
    address text not null,
    what text not null,
    other text not null,
    made bigint not null,
    done bigint not null
);
create index confirmation_made on confirmation (made);

-- Commands by mail that were carried out: the same mail again does nothing.
create table command (
    list bigint not null,
    word text not null,
    identity blob not null,
    happened bigint not null,
    primary key (list, word, identity)
);
create index command_happened on command (happened);

-- Automatic mails of the last days, by what limits count: `cap` names the limit, `list` 0 is the site.
create table notice (
    id integer primary key autoincrement,
    cap text not null,
    address text not null,
    list bigint not null,
    source text not null,
    made bigint not null
);
create index notice_address on notice (address, cap);
create index notice_source on notice (source, made);
create index notice_made on notice (made);
