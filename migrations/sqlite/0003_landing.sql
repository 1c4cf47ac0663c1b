-- The commits that patches became, on every branch that is followed. `patch.commit_ref` is the one on the most important branch.
create table landed (
    mail bigint not null,
    repo bigint not null references repo (id),
    branch text not null,
    commit_id text not null,
    found bigint not null,
    primary key (mail, repo, branch)
);
create index landed_commit on landed (repo, branch, commit_id);

-- Patterns of branches that are followed beside the main one, blank-separated, and the commits of these that were looked at last.
alter table repo add column follow text not null default '';
create table repo_branch (
    repo bigint not null references repo (id),
    name text not null,
    tip text not null,
    primary key (repo, name)
);

-- The state that a series had before it was accepted because all its patches landed; null: no rule accepted it.
alter table series add column before_landed bigint;
