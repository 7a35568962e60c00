//! Corpora made of files: which there are, where they come from, and where to find them on this machine.
//!
//! The list is `corpus/manifest.toml`. Files of a corpus that is not shipped are inputs to read at run time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

const MANIFEST: &str = include_str!("../manifest.toml");

/// A corpus whose files come from one commit of one public repository.
#[derive(Debug, Clone, Deserialize)]
pub struct Corpus {
    pub name: String,
    /// SPDX identifier.
    pub licence: String,
    pub repository: String,
    pub commit: String,
    /// Whether the files are in this repository, in the folder of the manifest.
    #[serde(default)]
    pub shipped: bool,
    /// A .tar.gz that may be there in place of the files.
    pub archive: Option<String>,
    /// The folder in that archive that has the files.
    pub archive_folder: Option<String>,
    pub files: Vec<File>,
}

/// One file of a corpus.
#[derive(Debug, Clone, Deserialize)]
pub struct File {
    /// Path below the corpus's folder on disk.
    pub path: String,
    /// Path in the repository.
    pub upstream: String,
    /// Of its bytes, in lower-case hexadecimal.
    pub sha256: String,
}

#[derive(Deserialize)]
struct Manifest {
    corpus: Vec<Corpus>,
}

/// Every corpus of the manifest.
pub fn corpora() -> Vec<Corpus> {
    let manifest: Manifest = toml::from_str(MANIFEST).expect("corpus/manifest.toml is checked by a test");
    manifest.corpus
}

/// The corpus of that name.
pub fn corpus(name: &str) -> Option<Corpus> {
    corpora().into_iter().find(|corpus| corpus.name == name)
}

impl Corpus {
    /// The public address of a file at the pinned commit.
    pub fn address(&self, file: &File) -> String {
        let repository =
            self.repository.replacen("https://github.com/", "https://raw.githubusercontent.com/", 1);
        format!("{repository}/{}/{}", self.commit, file.upstream)
    }

    /// The first folder for this corpus below `roots` that has all of its files.
    pub fn folder(&self, roots: &[PathBuf]) -> Option<PathBuf> {
        let mut folders = roots.iter().map(|root| root.join(&self.name));
        folders.find(|folder| self.files.iter().all(|file| folder.join(&file.path).is_file()))
    }

    /// The corpus's archive below `roots`, if it has one and it is there.
    pub fn archive(&self, roots: &[PathBuf]) -> Option<PathBuf> {
        let name = self.archive.as_ref()?;
        roots.iter().map(|root| root.join(&self.name).join(name)).find(|archive| archive.is_file())
    }
}

impl File {
    /// Whether the file below `folder` has the listed checksum; an error if it cannot be read.
    pub fn is_intact(&self, folder: &Path) -> io::Result<bool> {
        let bytes = fs::read(folder.join(&self.path))?;
        Ok(hexadecimal(&Sha256::digest(&bytes)) == self.sha256)
    }
}

/// Where corpora are looked for: `$PG_TRICKLE_CORPUS`, `shared/corpus` beside the checkout or beside a folder that it is
/// in, as a worktree may be, `corpus` in the cache, and for what is shipped the checkout itself.
pub fn roots(checkout: &Path, cache: &Path) -> Vec<PathBuf> {
    let named = std::env::var_os("PG_TRICKLE_CORPUS").map(PathBuf::from);
    let beside = checkout.ancestors().skip(1).map(|folder| folder.join("shared/corpus"));
    named.into_iter().chain(beside).chain([cache.join("corpus"), checkout.join("corpus")]).collect()
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_entries_are_complete_and_distinct() {
        let corpora = corpora();
        assert_eq!(corpora.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["job", "sqllogictest"]);
        for corpus in &corpora {
            assert_eq!(corpus.commit.len(), 40, "{}", corpus.name);
            let mut paths: Vec<_> = corpus.files.iter().map(|file| &file.path).collect();
            paths.sort();
            paths.dedup();
            assert_eq!(paths.len(), corpus.files.len(), "{}", corpus.name);
            assert!(corpus.files.iter().all(|file| file.sha256.len() == 64), "{}", corpus.name);
        }
    }

    #[test]
    fn address_names_the_pinned_commit() {
        let job = corpus("job").expect("listed");
        assert_eq!(
            job.address(&job.files[0]),
            "https://raw.githubusercontent.com/duckdb/duckdb/044a04a7cd39e6e8235f756597ae42dde084e5e5/\
             benchmark/imdb_plan_cost/queries/01a.sql"
        );
    }

    #[test]
    fn checkout_in_a_folder_of_worktrees_finds_what_is_beside_that_folder() {
        let roots = roots(Path::new("/work/wt/slt"), Path::new("/cache"));
        for root in ["/work/wt/shared/corpus", "/work/shared/corpus", "/cache/corpus", "/work/wt/slt/corpus"]
        {
            assert!(roots.contains(&PathBuf::from(root)), "{root}");
        }
    }

    #[test]
    fn file_with_other_bytes_is_not_intact() {
        let folder = std::env::temp_dir().join(format!("pg_trickle_manifest_{}", std::process::id()));
        fs::create_dir_all(&folder).expect("temporary folder");
        let file = File {
            path: "a".to_owned(),
            upstream: "a".to_owned(),
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        };
        fs::write(folder.join("a"), "abc").expect("write");
        assert!(file.is_intact(&folder).expect("read"));
        fs::write(folder.join("a"), "abd").expect("write");
        assert!(!file.is_intact(&folder).expect("read"));
        fs::remove_dir_all(&folder).expect("remove");
    }
}
