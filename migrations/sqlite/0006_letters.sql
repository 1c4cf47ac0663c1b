-- A mail of our own to one address that is still owed: a confirmation, a notice, a probe. Sent ones are deleted.
-- state: 0 due, 1 claimed, 2 given up. An empty return path is the null sender.
create table letter (
    id integer primary key autoincrement,
    list bigint,
    purpose text not null,
    recipient text not null,
    return_path text not null,
    data blob not null,
    made bigint not null,
    state bigint not null,
    attempts bigint not null,
    run_at bigint not null,
    claimed_until bigint not null,
    problem text not null
);
create index letter_due on letter (state, run_at, id);
