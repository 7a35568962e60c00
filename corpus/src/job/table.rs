//! The tables.

use crate::row::Table;

macro_rules! tables {
    ($($name:ident ($($column:ident)*))*) => {
        /// The 21 tables, those that are referred to before those that refer to them.
        pub static TABLES: [Table; 21] = [
            $(Table { name: stringify!($name), columns: &[$(stringify!($column)),*] }),*
        ];
    };
}

tables! {
    comp_cast_type (id kind)
    company_type (id kind)
    info_type (id info)
    kind_type (id kind)
    link_type (id link)
    role_type (id role)
    keyword (id keyword phonetic_code)
    company_name (id name country_code imdb_id name_pcode_nf name_pcode_sf md5sum)
    name (id name imdb_index imdb_id gender name_pcode_cf name_pcode_nf surname_pcode md5sum)
    char_name (id name imdb_index imdb_id name_pcode_nf surname_pcode md5sum)
    title (id title imdb_index kind_id production_year imdb_id phonetic_code episode_of_id season_nr episode_nr series_years md5sum)
    aka_name (id person_id name imdb_index name_pcode_cf name_pcode_nf surname_pcode md5sum)
    aka_title (id movie_id title imdb_index kind_id production_year phonetic_code episode_of_id season_nr episode_nr note md5sum)
    cast_info (id person_id movie_id person_role_id note nr_order role_id)
    complete_cast (id movie_id subject_id status_id)
    movie_companies (id movie_id company_id company_type_id note)
    movie_info (id movie_id info_type_id info note)
    movie_info_idx (id movie_id info_type_id info note)
    movie_keyword (id movie_id keyword_id)
    movie_link (id movie_id linked_movie_id link_type_id)
    person_info (id person_id info_type_id info note)
}

/// The table of that name; panics if there is none.
pub(super) fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).unwrap_or_else(|| panic!("there is no table {name}"))
}
