-- Held since when: the days to decide count from there, as a mail that is taken back may have arrived long ago.
alter table held add column since bigint not null default 0;
update held set since = arrived;
drop index held_arrived;
create index held_since on held (list, since);
create index held_identity on held (realm, identity);
-- How often a mail was taken back: an answer to a notice speaks of one time that it is held, and of no other.
alter table receipt add column turn bigint not null default 0;

-- Who had a copy of a mail when it was taken back: members up to `cursor`, but those of `unreached`. Let through again, it goes to the others.
create table reached (receipt bigint primary key, cursor bigint not null);
create table unreached (receipt bigint not null, member bigint not null, primary key (receipt, member));

-- The receipts of whose mails a letter has words, as `/7/8/`: such letters go with the mails.
alter table letter add column about text not null default '';
-- The receipt of the mail that a note is about, if it is about one.
alter table event add column receipt bigint;
create index event_receipt on event (receipt);

-- Realms of which something was purged and whose files were not written anew since.
create table scrub (realm bigint primary key, since bigint not null);

-- Mails that were redacted or purged: they do not come back to that realm; realm 0: to none.
create table barred (realm bigint not null, identity bytea not null, made bigint not null, primary key (realm, identity));
insert into barred (realm, identity, made) select 0, identity, made from denied;
drop table denied;
