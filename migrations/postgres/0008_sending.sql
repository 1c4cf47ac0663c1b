-- The domain a mail goes to: a destination in trouble is left alone while all others are served.
-- state of delivery and letter: 0 due, 1 claimed, 2 given up, 3 held by an operator.
alter table delivery add column domain text collate "C" not null default '';
update delivery set domain = lower(substr(address, position('@' in address) + 1));
alter table letter add column domain text collate "C" not null default '';
update letter set domain = lower(substr(recipient, position('@' in recipient) + 1));
-- Lists take turns.
drop index delivery_due;
create index delivery_due on delivery (state, list, run_at, id);
-- How copies differ from what arrived, decided once (JSON, see list::treatment); held: they wait for an operator.
alter table fan_out add column treatment text collate "C" not null default '';
alter table fan_out add column held bigint not null default 0;
-- What a list does where the author's domain would have unchanged copies refused: munge, pass or hold.
alter table list add column dmarc_unaligned text collate "C" not null default 'munge';
