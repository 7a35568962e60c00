//! Container images: bases from a registry or made of Debian packages, and images with the extension in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};

use super::cache::{cache_root, checkout, make_folder};
use super::lock::Lock;
use super::server::{Headers, Installation};
use super::{debian, headers, plan, say};
use crate::package::{Server, package};
use crate::process::{is_on_path, is_root, run, run_visible};

/// Name of the images with the extension; the tag says version and content.
const IMAGE: &str = "pg-trickle";

/// Release that bases are made of. Its C library is at least as new as that of the machines the harness runs on,
/// which is what a server or an extension built here needs.
const RELEASE: &str = "trixie";

/// The major version that the release has packages of.
const RELEASE_MAJOR: u32 = 17;

/// Where a server that an image carries is put.
const CARRIED: &str = "opt/pg_trickle";

/// What an image with the extension is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Image to start from.
    pub base: String,
    /// Where the server of the image comes from.
    pub content: Content,
}

/// Where the server of an image comes from.
#[derive(Clone, Debug)]
pub enum Content {
    /// From the base, with Debian's layout; the extension is built against these headers.
    Base(Headers),
    /// From this machine.
    Carried(Installation),
}

impl Recipe {
    /// Version of the server, as far as it is known before it runs.
    pub fn version(&self) -> &str {
        match &self.content {
            Content::Base(headers) => &headers.version,
            Content::Carried(installation) => &installation.headers.version,
        }
    }
}

/// An image with the extension.
#[derive(Clone, Debug)]
pub struct Image {
    /// `name:tag`.
    pub tag: String,
    /// Folder of the server's programs inside.
    pub bindir: PathBuf,
}

/// Whether a container engine answers.
pub fn engine_answers() -> bool {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    *ANSWERS.get_or_init(|| is_on_path("docker") && docker(&["info"]).is_ok())
}

/// How an image of a major version can be made on this machine, if it can. Gets the base.
pub fn recipe(major: u32) -> Result<Option<Recipe>> {
    let local = plan::get_local(major)?;
    if let Some(base) = ready_base(major) {
        if let Some(installation) = local {
            return Ok(Some(Recipe { base, content: Content::Base(installation.headers) }));
        }
        say(format_args!(
            "the image {base} is there, but no headers of PostgreSQL {major} to build the extension with"
        ));
    }
    if major == RELEASE_MAJOR {
        return Ok(release_base()?.map(|(base, headers)| Recipe { base, content: Content::Base(headers) }));
    }
    let (Some(installation), Some(base)) = (local, plain_base()?) else { return Ok(None) };
    Ok(Some(Recipe { base, content: Content::Carried(installation) }))
}

/// Makes the image of a recipe, with the extension, unless it is there.
pub fn image(recipe: &Recipe) -> Result<Image> {
    let folder = make_folder(cache_root().join("image"))?;
    let unfinished = tempfile::tempdir_in(&folder)?;
    let tree = unfinished.path().join("tree");
    let (major, hash, bindir) = match &recipe.content {
        Content::Base(headers) => {
            let package = package(headers)?;
            let root = Path::new("/usr");
            let installed = |from: &Path, to: PathBuf| -> Result<()> {
                crate::package::copy_tree(&crate::package::below(&package.tree, from), &tree.join(to))
            };
            installed(&headers.pkglibdir, format!("usr/lib/postgresql/{}/lib", headers.major).into())?;
            installed(&headers.sharedir, format!("usr/share/postgresql/{}", headers.major).into())?;
            (headers.major, package.hash, root.join(format!("lib/postgresql/{}/bin", headers.major)))
        }
        Content::Carried(installation) => {
            let server = Server::with_extension(installation)?;
            crate::package::copy_tree(&server.root, &tree.join(CARRIED))?;
            let inside = server.bindir.strip_prefix(&server.root)?;
            let hash = server.root.file_name().unwrap_or_default().to_string_lossy().replace('-', "");
            (server.major, hash, Path::new("/").join(CARRIED).join(inside))
        }
    };
    let base_id = docker(&["image", "inspect", "--format", "{{.Id}}", &recipe.base])?;
    let base_id: String = base_id.trim().trim_start_matches("sha256:").chars().take(12).collect();
    let tag = format!("{IMAGE}:{major}-{base_id}-{hash}");
    let _lock =
        Lock::acquire(&folder.join("lock"), || say("another process makes an image, waiting for it"))?;
    if !exists(&tag) {
        say(format_args!("making the image {tag} from {} ...", recipe.base));
        fs::copy(checkout().join("harness/container/Dockerfile"), unfinished.path().join("Dockerfile"))?;
        run(Command::new("docker")
            .args(["build", "--quiet", "--build-arg"])
            .arg(format!("BASE={}", recipe.base))
            .args(["--tag", &tag])
            .arg(unfinished.path())
            .env("DOCKER_BUILDKIT", "0"))?;
        // Images of other contents are left for other clones, until they are old. Those in use stay in any case.
        docker(&[
            "image",
            "prune",
            "--all",
            "--force",
            "--filter",
            "label=pg_trickle",
            "--filter",
            "until=72h",
        ])?;
    }
    Ok(Image { tag, bindir })
}

/// `$PG_TRICKLE_BASE_<N>`, else the official image, if it is there or a registry has it.
fn ready_base(major: u32) -> Option<String> {
    if let Ok(image) = std::env::var(format!("PG_TRICKLE_BASE_{major}"))
        && !image.is_empty()
    {
        return Some(image);
    }
    let official = format!("postgres:{major}");
    if exists(&official) {
        return Some(official);
    }
    say(format_args!("pulling {official} ..."));
    match docker(&["pull", "--quiet", &official]) {
        Ok(_) => Some(official),
        Err(_) => {
            say("no registry answers; the base is made of Debian packages");
            None
        }
    }
}

/// A base with the release's own server, and the headers to build for it.
fn release_base() -> Result<Option<(String, Headers)>> {
    let base = format!("pg-trickle-base:{RELEASE_MAJOR}");
    let folder = cache_root().join(format!("pg/{RELEASE}-{RELEASE_MAJOR}"));
    let pg_config = folder.join("pg_config");
    let _lock = Lock::acquire(&cache_root().join("image/base.lock"), || {
        say("another process makes a base image, waiting for it");
    })?;
    if !exists(&base) || !pg_config.is_file() {
        if !can_bootstrap()? {
            return Ok(None);
        }
        let system = bootstrap(&format!("postgresql-{RELEASE_MAJOR}"))?;
        headers::unpack(RELEASE_MAJOR, system.path(), &folder)?;
        import(system.path(), &base)?;
    }
    Ok(Some((base, Headers::from_pg_config(&pg_config)?)))
}

/// A base without a server.
fn plain_base() -> Result<Option<String>> {
    let base = "pg-trickle-base:plain";
    let _lock = Lock::acquire(&cache_root().join("image/base.lock"), || {
        say("another process makes a base image, waiting for it");
    })?;
    if !exists(base) {
        if !can_bootstrap()? {
            return Ok(None);
        }
        let system = bootstrap("tzdata")?;
        import(system.path(), base)?;
    }
    Ok(Some(base.to_string()))
}

fn can_bootstrap() -> Result<bool> {
    if !is_root() {
        say("making a base image takes root (debootstrap)");
        return Ok(false);
    }
    if !is_on_path("debootstrap") {
        debian::install(&["debootstrap"])?;
    }
    Ok(true)
}

/// A minimal system of the release with some packages, in a temporary folder.
fn bootstrap(packages: &str) -> Result<tempfile::TempDir> {
    say(format_args!("making a Debian {RELEASE} with {packages} (about a minute, once) ..."));
    let system = tempfile::tempdir_in(make_folder(cache_root().join("image"))?)?;
    run_visible(
        Command::new("debootstrap")
            .arg("--variant=minbase")
            .arg(format!("--include={packages}"))
            .arg(RELEASE)
            .arg(system.path())
            .stdout(Stdio::null()),
    )
    .context("debootstrap failed")?;
    Ok(system)
}

/// Makes an image of a system's files, but for what no server needs.
fn import(system: &Path, image: &str) -> Result<()> {
    let without = [
        "./proc",
        "./sys",
        "./dev",
        "./var/cache/apt",
        "./var/lib/apt/lists",
        "./var/lib/postgresql",
        "./usr/share/doc",
        "./usr/share/man",
        "./usr/share/locale",
    ];
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(system).args(without.map(|path| format!("--exclude={path}"))).args(["-c", "."]);
    let mut archive = tar.stdout(Stdio::piped()).spawn().context("cannot start tar")?;
    let content = archive.stdout.take().context("tar has no output")?;
    run(Command::new("docker").args(["import", "-", image]).stdin(content))?;
    anyhow::ensure!(archive.wait()?.success(), "tar failed on {}", system.display());
    Ok(())
}

fn exists(image: &str) -> bool {
    docker(&["image", "inspect", image]).is_ok()
}

fn docker(arguments: &[&str]) -> Result<String> {
    run(Command::new("docker").args(arguments))
}
