-- The 21 tables of the Join Order Benchmark for the harness. Names and columns are the benchmark's (schema.sql of DuckDB's
-- copy, see SOURCE.md), with two deliberate differences: text in place of varchar(n), so that both engines compare strings
-- the same way, and every column outside a primary key may be NULL, so that the stream of changes can put NULLs there.
-- The database's collation has to be C: the benchmark's MIN over text and its BETWEEN on text depend on it.
CREATE TABLE aka_name (
    id integer PRIMARY KEY,
    person_id integer,
    name text,
    imdb_index text,
    name_pcode_cf text,
    name_pcode_nf text,
    surname_pcode text,
    md5sum text
);

CREATE TABLE aka_title (
    id integer PRIMARY KEY,
    movie_id integer,
    title text,
    imdb_index text,
    kind_id integer,
    production_year integer,
    phonetic_code text,
    episode_of_id integer,
    season_nr integer,
    episode_nr integer,
    note text,
    md5sum text
);

CREATE TABLE cast_info (
    id integer PRIMARY KEY,
    person_id integer,
    movie_id integer,
    person_role_id integer,
    note text,
    nr_order integer,
    role_id integer
);

CREATE TABLE char_name (
    id integer PRIMARY KEY,
    name text,
    imdb_index text,
    imdb_id integer,
    name_pcode_nf text,
    surname_pcode text,
    md5sum text
);

CREATE TABLE comp_cast_type (
    id integer PRIMARY KEY,
    kind text
);

CREATE TABLE company_name (
    id integer PRIMARY KEY,
    name text,
    country_code text,
    imdb_id integer,
    name_pcode_nf text,
    name_pcode_sf text,
    md5sum text
);

CREATE TABLE company_type (
    id integer PRIMARY KEY,
    kind text
);

CREATE TABLE complete_cast (
    id integer PRIMARY KEY,
    movie_id integer,
    subject_id integer,
    status_id integer
);

CREATE TABLE info_type (
    id integer PRIMARY KEY,
    info text
);

CREATE TABLE keyword (
    id integer PRIMARY KEY,
    keyword text,
    phonetic_code text
);

CREATE TABLE kind_type (
    id integer PRIMARY KEY,
    kind text
);

CREATE TABLE link_type (
    id integer PRIMARY KEY,
    link text
);

CREATE TABLE movie_companies (
    id integer PRIMARY KEY,
    movie_id integer,
    company_id integer,
    company_type_id integer,
    note text
);

CREATE TABLE movie_info (
    id integer PRIMARY KEY,
    movie_id integer,
    info_type_id integer,
    info text,
    note text
);

CREATE TABLE movie_info_idx (
    id integer PRIMARY KEY,
    movie_id integer,
    info_type_id integer,
    info text,
    note text
);

CREATE TABLE movie_keyword (
    id integer PRIMARY KEY,
    movie_id integer,
    keyword_id integer
);

CREATE TABLE movie_link (
    id integer PRIMARY KEY,
    movie_id integer,
    linked_movie_id integer,
    link_type_id integer
);

CREATE TABLE name (
    id integer PRIMARY KEY,
    name text,
    imdb_index text,
    imdb_id integer,
    gender text,
    name_pcode_cf text,
    name_pcode_nf text,
    surname_pcode text,
    md5sum text
);

CREATE TABLE person_info (
    id integer PRIMARY KEY,
    person_id integer,
    info_type_id integer,
    info text,
    note text
);

CREATE TABLE role_type (
    id integer PRIMARY KEY,
    role text
);

CREATE TABLE title (
    id integer PRIMARY KEY,
    title text,
    imdb_index text,
    kind_id integer,
    production_year integer,
    imdb_id integer,
    phonetic_code text,
    episode_of_id integer,
    season_nr integer,
    episode_nr integer,
    series_years text,
    md5sum text
);

-- Rows that a stream of changes takes out in one cycle and puts back in a later one.
CREATE TABLE parked_cast_info (LIKE cast_info);
CREATE TABLE parked_movie_keyword (LIKE movie_keyword);
