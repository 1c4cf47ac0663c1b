-- Probes of `doctor` that came back, by token, for a day.
create table echo (
    token text collate "C" not null primary key,
    sender text collate "C" not null,
    bytes bytea not null,
    arrived bigint not null
);
