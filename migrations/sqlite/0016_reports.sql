-- Which mail about their own patches people want; who has no row wants the usual: the first series, and conflicts.
-- arrived: first, always or never. Of several linked addresses the newest row counts.
create table report_wish (
    address text primary key,
    arrived text not null,
    conflict bigint not null,
    changed bigint not null
);
