-- `patch.state` is Patchwork's number; null: the patch has its series' state. `hand` 1: a person set it; else it is there because the patch landed.
alter table patch add column hand bigint not null default 0;
-- Whether a series was applied at the tip is told by `tip_check`.
alter table application drop column tip_applies;
