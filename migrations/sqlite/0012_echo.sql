-- Probes of `doctor` that came back, by token, for a day.
create table echo (
    token text not null primary key,
    sender text not null,
    bytes blob not null,
    arrived bigint not null
);
