-- What came back of copies, and what was given up. kind: 0 a note, 1 a failure, 2 a complaint, whose address is not kept; one of each a copy.
-- state: 0 waits to be counted, 1 counted, 2 part of a storm and not counted.
create table bounce (
    id integer primary key autoincrement,
    list bigint not null,
    number bigint not null,
    member bigint not null,
    kind bigint not null,
    address text not null,
    domain text not null,
    class text not null,
    code text not null,
    detail text not null,
    arrived bigint not null,
    state bigint not null,
    unique (list, number, member, kind)
);
create index bounce_waits on bounce (state, arrived);
create index bounce_domain on bounce (domain, arrived);
create index bounce_address on bounce (address, id);

-- How an address stands on all lists (list::score::Standing). state: fine, probed, disabled.
create table standing (
    id integer primary key autoincrement,
    address text not null unique,
    state text not null,
    halves bigint not null,
    days bigint not null,
    last_day bigint not null,
    day_halves bigint not null,
    since bigint not null,
    told bigint not null,
    next bigint
);
create index standing_next on standing (next);

-- Who called a copy spam: no confirmation goes there for a while.
create table complaint (address text primary key, happened bigint not null);

-- Days, counted from 1970, on which copies went out on a list.
create table copy_day (list bigint not null, day bigint not null, primary key (list, day));

-- Destinations where so many copies failed at once that nobody is blamed. told 1: the operator knows.
create table storm (
    domain text primary key,
    code text not null,
    recipients bigint not null,
    began bigint not null,
    ended bigint not null,
    told bigint not null
);

-- Copies that were given up are looked at once; those of before are not.
alter table delivery add column judged bigint not null default 0;
update delivery set judged = 1 where state = 2;
create index delivery_to_judge on delivery (id) where state = 2 and judged = 0;
-- An address stands the same on all lists.
create index member_address on member (address);
