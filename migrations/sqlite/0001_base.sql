-- Vocabulary that both databases share: bigint, text, blob. Times are microseconds since 1970 UTC, flags are 0 or 1.
-- `autoincrement`: SQLite would else give the id of a deleted last row to the next one, and ids are never used again.

create table meta (key text primary key, value text not null);

-- What may know of each other. 1 is the realm of all public lists; every other list has its own.
create table realm (id integer primary key autoincrement, version bigint not null);
insert into realm (id, version) values (1, 0);

create table list (
    id integer primary key autoincrement,
    name text not null unique,
    address text not null unique,
    description text not null,
    style text not null,
    visibility text not null,
    realm bigint not null references realm (id),
    last_number bigint not null,
    version bigint not null,
    created bigint not null
);

create table repo (
    id integer primary key autoincrement,
    name text not null unique,
    source_kind text not null,
    source text not null,
    branch text not null,
    tip text,
    created bigint not null,
    fetched bigint,
    problem text
);

create table list_repo (
    list bigint not null references list (id),
    repo bigint not null references repo (id),
    position bigint not null,
    primary key (list, repo)
);

create table member (
    id integer primary key autoincrement,
    list bigint not null references list (id),
    address text not null,
    mail bigint not null,
    created bigint not null,
    unique (list, address)
);

-- Trained zstd dictionaries: a row never changes once written.
create table dictionary (id integer primary key autoincrement, realm bigint not null, made bigint not null, data blob not null);
-- What is stored without a dictionary names this row.
insert into dictionary (id, realm, made, data) values (0, 0, 0, '');

-- Exact bytes as received, by SHA-256 of what is stored. `crlf` 1: they came with CRLF and are stored with LF.
create table blob (
    realm bigint not null,
    hash blob not null,
    size bigint not null,
    crlf bigint not null,
    dictionary bigint not null references dictionary (id),
    data blob not null,
    primary key (realm, hash)
);

-- Mails accepted for a list; hash and verdict are those of the best authenticated copy. state: 0 owed, 1 filed, 2 filed as plain mail because filing failed.
create table receipt (
    id integer primary key autoincrement,
    realm bigint not null,
    list bigint not null references list (id),
    identity blob not null,
    hash blob not null,
    sender text not null,
    arrived bigint not null,
    source text not null,
    state bigint not null,
    mail bigint,
    verdict text not null,
    level bigint not null,
    unique (list, identity)
);

-- Every distinct set of bytes by which a mail came.
create table copy (
    realm bigint not null,
    identity blob not null,
    hash blob not null,
    arrived bigint not null,
    verdict text not null,
    level bigint not null,
    primary key (realm, identity, hash)
);

-- Named places in threads: mails and ghosts (names that were referred to and never came).
create table node (
    id integer primary key autoincrement,
    realm bigint not null,
    message_id text not null,
    thread bigint not null,
    unique (realm, message_id)
);
create index node_thread on node (thread);

-- What a mail says it answers: each mail for itself, as a stranger's may carry the same name.
create table edge (
    mail bigint not null,
    child bigint not null references node (id),
    parent bigint not null references node (id),
    position bigint not null,
    primary key (mail, parent)
);
create index edge_child on edge (child);
create index edge_parent on edge (parent);

-- `version` is raised by every visible change; pages are cached by it.
create table thread (id integer primary key autoincrement, realm bigint not null, version bigint not null);
create table thread_alias (old bigint primary key, thread bigint not null);

-- A message of a realm, with the bytes of its best authenticated copy. `recognised` is JSON (patchset::Recognised), `verdict` too
-- (verdict::Verdict), and `level` orders it; `state` 1: taken back, shown as a tombstone.
create table mail (
    id integer primary key autoincrement,
    realm bigint not null,
    identity blob not null,
    hash blob not null,
    node bigint not null references node (id),
    message_id text not null,
    subject text not null,
    author text not null,
    address text not null,
    date bigint,
    arrived bigint not null,
    size bigint not null,
    flaws text not null,
    kind text not null,
    recognised text not null,
    verdict text not null,
    level bigint not null,
    state bigint not null,
    unique (realm, identity)
);
create index mail_node on mail (node);
-- The order of search: arrival to the second, then the order of filing (`store::index::position`).
create index mail_position on mail ((arrived / 1000000 * 536870912 + id));

-- What a reader sees of a mail: decoded text with LF.
create table body (mail bigint primary key, text text not null);

-- Further names of a mail.
create table alias (realm bigint not null, message_id text not null, mail bigint not null, primary key (realm, message_id, mail));

create table posting (
    list bigint not null references list (id),
    number bigint not null,
    mail bigint not null references mail (id),
    node bigint not null,
    arrived bigint not null,
    primary key (list, number),
    unique (list, mail)
);
create index posting_mail on posting (mail);
create index posting_arrived on posting (list, arrived, number);

-- One line of a list's front page: a thread as that list sees it.
create table list_thread (
    list bigint not null,
    thread bigint not null,
    first_number bigint not null,
    last_number bigint not null,
    last_arrived bigint not null,
    postings bigint not null,
    root_mail bigint not null,
    primary key (list, thread)
);
create index list_thread_newest on list_thread (list, last_arrived, thread);

-- Keys by which mails of different threads may be one patchset.
create table link_key (realm bigint not null, key text not null, mail bigint not null, primary key (realm, key, mail));
create index link_key_mail on link_key (mail);

create table patchset (
    id integer primary key autoincrement,
    realm bigint not null,
    anchor bigint not null,
    title text not null,
    prefixes text not null,
    newest bigint,
    state bigint not null,
    updated bigint not null,
    versions bigint not null
);
create index patchset_updated on patchset (realm, updated, id);
create index patchset_anchor on patchset (anchor);
create table patchset_alias (old bigint primary key, patchset bigint not null);

-- One version of a patchset. `claims`: the anchor of another patchset's series to which it says to belong, without authority.
-- `state` is Patchwork's number (1 new … 10 deferred); `hand` 1: a person set it, no rule changes it.
create table series (
    id integer primary key autoincrement,
    patchset bigint not null references patchset (id),
    realm bigint not null,
    anchor bigint not null,
    position bigint not null,
    label text not null,
    version bigint not null,
    total bigint not null,
    received bigint not null,
    complete bigint not null,
    superseded bigint not null,
    state bigint not null,
    hand bigint not null,
    archived bigint not null,
    submitter text not null,
    submitter_name text not null,
    title text not null,
    cover bigint,
    base_commit text,
    flags text not null,
    reason text not null,
    arrived bigint not null,
    claims bigint,
    digest text not null
);
create index series_patchset on series (patchset, position);
create index series_anchor on series (anchor);
create index series_claims on series (claims);
create table series_alias (old bigint primary key, series bigint not null);

-- The columns from `state` on are what the Patchwork API asks of a patch.
create table patch (
    id integer primary key autoincrement,
    series bigint not null references series (id),
    number bigint not null,
    mail bigint not null,
    taken_over bigint not null,
    state bigint,
    archived bigint not null,
    delegate bigint,
    commit_ref text,
    hash text,
    unique (series, number)
);
create index patch_mail on patch (mail);

create table comment (
    series bigint not null references series (id),
    mail bigint not null,
    target bigint not null,
    primary key (series, mail)
);
create index comment_mail on comment (mail);

-- Which lists a patchset was posted to.
create table patchset_list (
    list bigint not null,
    patchset bigint not null,
    updated bigint not null,
    primary key (list, patchset)
);
create index patchset_list_newest on patchset_list (list, updated, patchset);

-- What came of applying a series. outcome: applied, conflict, elsewhere, bad.
create table application (
    series bigint primary key references series (id),
    repo bigint,
    outcome text not null,
    base text,
    why text not null,
    tip_applies bigint,
    ref_name text,
    head text,
    patch bigint,
    file text,
    hunk bigint,
    detail text not null,
    made bigint not null
);
create table application_commit (
    series bigint not null,
    number bigint not null,
    commit_id text not null,
    primary key (series, number)
);

-- What somebody did, when, why. Corrections of the grouping are events that are replayed in order.
create table event (
    id integer primary key autoincrement,
    realm bigint not null,
    kind text not null,
    mail bigint,
    patchset bigint,
    actor text not null,
    happened bigint not null,
    detail text not null
);
create index event_mail on event (mail);
create index event_patchset on event (patchset);
-- Every mail that a correction names: who groups one of them groups all.
create table correction_mail (
    event bigint not null references event (id),
    mail bigint not null,
    primary key (event, mail)
);
create index correction_mail_mail on correction_mail (mail);

-- Work that is owed. state: 0 waiting or leased, 1 parked. `lease` names the claim that may still speak for the job. `again` 1: wanted once more while it ran.
create table job (
    id integer primary key autoincrement,
    kind text not null,
    key text not null,
    priority bigint not null,
    run_at bigint not null,
    attempts bigint not null,
    leased_until bigint not null,
    lease bigint not null,
    again bigint not null,
    state bigint not null,
    problem text not null,
    unique (kind, key)
);
create index job_due on job (state, priority, run_at, id);

-- Who still has to get a copy of a posting: members with an id above `cursor` have no delivery yet.
create table fan_out (
    list bigint not null,
    number bigint not null,
    cursor bigint not null,
    made bigint not null,
    sent bigint not null,
    failed bigint not null,
    started bigint not null,
    finished bigint,
    primary key (list, number)
);

-- One recipient's copy that is still owed. state: 0 due, 1 claimed, 2 given up.
create table delivery (
    id integer primary key autoincrement,
    list bigint not null,
    number bigint not null,
    member bigint not null,
    address text not null,
    state bigint not null,
    attempts bigint not null,
    run_at bigint not null,
    claimed_until bigint not null,
    problem text not null,
    unique (list, number, member)
);
create index delivery_due on delivery (state, run_at, id);

-- How far an import came, by its source.
create table import (
    list bigint not null,
    source text not null,
    position text not null,
    changed bigint not null,
    primary key (list, source)
);

-- A row is `store::index::position` of its mail, so that walking it backwards gives the newest first.
-- A colon is part of a word: what is found by a prefix alone stands there as `t:ana` (query::Mark).
create virtual table search using fts5 (
    subject, sender, body, files,
    content = '', contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 0 tokenchars '':'''
);
