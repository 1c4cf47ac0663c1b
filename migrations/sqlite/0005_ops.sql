-- The list that a note on mail is about: bounces, requests, and what was dropped or refused.
alter table event add column list bigint;
create index event_list on event (list, id);
