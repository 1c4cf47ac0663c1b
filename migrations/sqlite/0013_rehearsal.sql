-- Mails that somebody sent to try a list out (list+check@): they wait for the others of their series, are answered, and are deleted then.
-- `said`: what the list's policy said of it when it came, as JSON.
create table rehearsal (
    id integer primary key autoincrement,
    list bigint not null references list (id),
    address text not null,
    identity blob not null,
    arrived bigint not null,
    verdict text not null,
    said text not null,
    data blob not null
);
create unique index rehearsal_mail on rehearsal (list, address, identity);
