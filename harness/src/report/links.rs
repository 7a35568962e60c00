//! Whether the pages of a site hold together: every link leads to a file and a place that are there, nothing is fetched
//! from elsewhere, and nothing runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A page as far as links are concerned.
#[derive(Default)]
struct Page {
    targets: Vec<String>,
    places: Vec<String>,
    is_active: bool,
}

/// Everything that is wrong with the pages in a folder, one line each.
pub fn problems(folder: &Path) -> Result<Vec<String>> {
    let mut files = BTreeSet::new();
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".html") {
            pages.insert(name.clone(), Page::read(&fs::read_to_string(&path)?));
        }
        files.insert(name);
    }
    let mut problems = Vec::new();
    if !pages.contains_key("index.html") {
        problems.push("there is no index.html".to_owned());
    }
    for (name, page) in &pages {
        if page.is_active {
            problems.push(format!("{name} has a script"));
        }
        let distinct: BTreeSet<&String> = page.places.iter().collect();
        if distinct.len() < page.places.len() {
            problems.push(format!("{name} has two places of one name"));
        }
        for target in &page.targets {
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { name } else { file };
            let is_there = files.contains(file)
                && (place.is_empty()
                    || pages.get(file).is_some_and(|page| page.places.iter().any(|p| p == place)));
            if !is_there && !target.starts_with("data:") {
                problems.push(format!("{name} leads to {target}, which is not there"));
            }
        }
        let twin = format!("{}.json", name.trim_end_matches(".html"));
        if !files.contains(&twin) {
            problems.push(format!("{name} has no {twin}"));
        }
    }
    Ok(problems)
}

impl Page {
    /// Reads the attributes that matter of every tag. Texts cannot contain a tag: they are escaped.
    fn read(html: &str) -> Page {
        let mut page = Page::default();
        for tag in html.split('<').skip(1) {
            let tag = tag.split('>').next().unwrap_or_default();
            page.is_active |= tag.starts_with("script");
            page.targets.extend(attribute(tag, "href"));
            page.targets.extend(attribute(tag, "src"));
            page.places.extend(attribute(tag, "id"));
        }
        page
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::problems;

    #[test]
    fn link_to_nowhere_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write(
            "index.html",
            "<h2 id=\"a\">A</h2><a href=\"#a\">a</a><a href=\"b.html#c\">c</a><a href=\"index.json\">d</a>",
        );
        write("index.json", "{}");
        write("b.html", "<h2 id=\"b\">B</h2>");
        let found = problems(folder.path()).expect("a site");
        assert_eq!(found, ["b.html has no b.json", "index.html leads to b.html#c, which is not there"]);
    }
}
