-- Who may do what in the retailer's database. Passwords come from psql's environment.
\set ON_ERROR_STOP on
\getenv retailer_password RETAILER_PASSWORD
\getenv lakepulse_password LAKEPULSE_POSTGRES_PASSWORD

-- The retailer's own application: owns the tables and changes them. `lakepulse sim --into` is it, over the client
-- that reads changes, whose sessions need REPLICATION.
CREATE ROLE retailer LOGIN REPLICATION PASSWORD :'retailer_password';
-- The reader of changes: a replication slot and SELECT for snapshots, no more.
CREATE ROLE lakepulse LOGIN REPLICATION PASSWORD :'lakepulse_password';

SELECT format('GRANT CREATE ON DATABASE %I TO retailer', current_database()) \gexec
