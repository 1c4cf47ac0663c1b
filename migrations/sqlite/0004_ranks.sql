-- `level` is 1 where the domain in From speaks for the mail, else 0 (verdict::Level::rank).
update mail set level = case when level = 4 then 1 else 0 end;
update copy set level = case when level = 4 then 1 else 0 end;
update receipt set level = case when level = 4 then 1 else 0 end;
-- The highest number that a patchset of the realm has. Realms count each for itself, so that no number tells of another's mail.
alter table realm add column patchsets bigint not null default 0;
update realm set patchsets = coalesce((select max(id) from patchset), 0) where id = 1;
-- 1: filed again, as a further copy is better authenticated or arrived earlier.
alter table receipt add column again bigint not null default 0;
