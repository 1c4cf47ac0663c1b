-- Who wants to sign in, and addresses that are asked to be linked with one that is signed in (`other`; else empty). Of secrets only
-- hashes are kept. known 0: nobody got a mail. used 1: the link or the code was used.
create table sign_in (
    link blob primary key,
    browser blob not null,
    code blob not null,
    address text not null,
    other text not null,
    known bigint not null,
    tries bigint not null,
    used bigint not null,
    made bigint not null
);
create index sign_in_browser on sign_in (browser);
create index sign_in_address on sign_in (address, made);
create index sign_in_made on sign_in (made);

-- Browsers that are signed in, by the hash of what their cookie holds.
create table session (
    id blob primary key,
    address text not null,
    made bigint not null,
    seen bigint not null
);
create index session_address on session (address);
create index session_made on session (made);

-- What is noted of one person is shown to them, and goes with them.
create index event_actor on event (lower(actor));
