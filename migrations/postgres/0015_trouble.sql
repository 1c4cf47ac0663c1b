-- What becomes of copies that wait long, and of what was given up.

-- From when a copy's five days count, if not from when its posting's copies were begun: an operator let it go then.
alter table delivery add column started bigint;

-- Probes that were given up are looked at once.
alter table letter add column judged bigint not null default 0;
