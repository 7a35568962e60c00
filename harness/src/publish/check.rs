//! `harness report check`: what a visitor's browser would find wrong with the pages.
//!
//! Links are followed without a browser. A browser then opens every kind of page in the sizes and colours that visitors
//! have, and must load it, write nothing to its console, and not let it scroll sideways.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::provision::{browser, cache::make_folder};
use crate::report::links;

/// Widths of a desk and of a phone, in pixels.
const WIDTHS: [u32; 2] = [1200, 400];

/// Blink's numbers of the colour schemes.
const SCHEMES: [(&str, u32); 2] = [("light", 1), ("dark", 0)];

/// Written before what the frame found.
const MARK: &str = "checked: ";

/// Pages of one kind that are opened; a replay has hundreds that differ in nothing but their figures.
const PAGES_PER_KIND: usize = 2;

/// Checks a report; the outcome is printed. Returns whether it is right.
pub(super) fn check(folder: &Path, screenshots: &Path) -> Result<bool> {
    let mut problems = links::problems(folder)?;
    println!("links: {} problems", problems.len());
    match browser::get() {
        Err(reason) => println!("NOT CHECKED in a browser: there is none: {reason:#}"),
        Ok(browser) => {
            make_folder(screenshots.to_path_buf())?;
            let pages = pages(folder)?;
            for page in &pages {
                problems.extend(look_at(&browser, &folder.join(page), screenshots)?);
            }
            println!(
                "{} pages opened in {}, screenshots in {}",
                pages.len(),
                browser.display(),
                screenshots.display()
            );
        }
    }
    for problem in &problems {
        println!("WRONG: {problem}");
    }
    Ok(problems.is_empty())
}

/// The front page and some pages of each kind. The kind is the name up to the version: `tpch`, and for queries `tpch-`.
fn pages(folder: &Path) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".html") {
            names.insert(name);
        }
    }
    let kind = |name: &str| {
        let corpus = name.split('-').next().unwrap_or_default().to_owned();
        (corpus, name.matches('-').count() > 2)
    };
    let mut chosen: Vec<String> = Vec::new();
    for name in names {
        if chosen.iter().filter(|other| kind(other) == kind(&name)).count() < PAGES_PER_KIND {
            chosen.push(name);
        }
    }
    Ok(chosen)
}

/// Opens a page in every size and colour, and returns what is wrong with it.
fn look_at(browser: &Path, page: &Path, screenshots: &Path) -> Result<Vec<String>> {
    let name = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut problems = Vec::new();
    for (scheme, number) in SCHEMES {
        for width in WIDTHS {
            let frame = Frame::around(page, width)?;
            let picture = screenshots.join(format!("{name}-{width}-{scheme}.png"));
            let output = Command::new(browser)
                .args([
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--hide-scrollbars",
                    "--allow-file-access-from-files",
                ])
                .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom"])
                .arg(format!("--blink-settings=preferredColorScheme={number}"))
                .arg(format!("--user-data-dir={}", frame.folder.path().join("profile").display()))
                .arg(format!("--window-size={},{}", width.max(600), 1600))
                .arg(format!("--screenshot={}", picture.display()))
                .arg(format!("file://{}", frame.path.display()))
                .stdin(Stdio::null())
                .output()
                .with_context(|| format!("cannot start {}", browser.display()))?;
            let (document, log) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            ensure!(output.status.success(), "the browser failed: {log}");
            problems.extend(
                log.lines()
                    .filter(|line| line.contains("CONSOLE"))
                    .map(|line| format!("{name} at {width} pixels, {scheme}: {line}")),
            );
            problems.extend(verdict(&document, width).map(|what| format!("{name}, {scheme}: {what}")));
        }
    }
    Ok(problems)
}

/// What the frame says about the page, if something is wrong.
fn verdict(document: &str, width: u32) -> Option<String> {
    let found = document.split_once(MARK).map(|(_, rest)| rest.split('<').next().unwrap_or_default());
    match found.map(|text| text.split_whitespace().collect::<Vec<_>>()).as_deref() {
        Some([title, content]) => match (title.parse::<u32>(), content.parse::<u32>()) {
            (Ok(1), Ok(content)) if content <= width => None,
            (Ok(1), Ok(content)) => Some(format!("is {content} pixels wide on a screen of {width}")),
            _ => Some(format!("has no heading ({title})")),
        },
        _ => Some("did not load".to_owned()),
    }
}

/// A page that shows another in a frame of a given width, and says how wide its content is. Browsers do not make windows
/// as narrow as a phone.
struct Frame {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Frame {
    fn around(page: &Path, width: u32) -> Result<Frame> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("frame.html");
        let address = fs::canonicalize(page)?;
        let text = format!(
            "<!DOCTYPE html><html><body style=\"margin: 0\"><iframe id=\"page\" src=\"file://{}\" \
             style=\"border: 0; width: {width}px; height: 1600px\"></iframe><p id=\"found\"></p><script>\
             document.getElementById('page').addEventListener('load', function () {{\
             var page = this.contentDocument;\
             document.getElementById('found').textContent = '{MARK}' + page.querySelectorAll('h1').length + ' ' + \
             page.documentElement.scrollWidth; }});</script></body></html>",
            address.display()
        );
        fs::write(&path, text)?;
        Ok(Frame { folder, path })
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn page_that_is_wider_than_the_screen_is_wrong() {
        assert_eq!(verdict("<p id=\"found\">checked: 1 400</p>", 400), None);
        let wide = verdict("<p id=\"found\">checked: 1 640</p>", 400);
        assert_eq!(wide.as_deref(), Some("is 640 pixels wide on a screen of 400"));
        assert_eq!(verdict("<p id=\"found\"></p>", 400).as_deref(), Some("did not load"));
    }
}
