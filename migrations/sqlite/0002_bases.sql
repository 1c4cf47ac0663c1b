-- What a series says it is built on, in order of appearance: a Message-ID (it holds an @) or the id of a patch (it holds none).
create table dependency (
    series bigint not null references series (id),
    position bigint not null,
    realm bigint not null,
    name text not null,
    primary key (series, position)
);
create index dependency_name on dependency (realm, name);

-- Whether a series applies at the tip of its branch, whatever it was applied on. outcome: applies, conflict, bad.
create table tip_check (
    series bigint primary key references series (id),
    repo bigint not null,
    tip text not null,
    outcome text not null,
    patch bigint,
    file text,
    hunk bigint,
    detail text not null,
    made bigint not null
);

-- The series on whose commits a series was applied, if it is not a commit of the project. outcome may be `waits`, too.
alter table application add column on_series bigint;
create index application_on_series on application (on_series);
create index application_repo on application (repo, series);
create index application_commit_id on application_commit (commit_id);
