-- What several lists did with one mail, and which postings a mail has, is found without reading all receipts.
create index receipt_identity on receipt (identity);
create index receipt_mail on receipt (mail);
