//! HTML and SVG from structure. All text and every attribute goes through here, so escaping is in one place.

use std::fmt::Display;

const STYLE: &str = include_str!("page.css");

/// Markup that is well formed whatever its texts contain.
#[derive(Debug, Default)]
pub(super) struct Html {
    markup: String,
}

/// Attributes of an element: names and values.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

impl Html {
    /// An element with what `content` adds to it.
    pub(super) fn element(&mut self, name: &str, attributes: Attributes, content: impl FnOnce(&mut Html)) {
        self.open(name, attributes);
        self.markup += ">";
        content(self);
        self.markup += "</";
        self.markup += name;
        self.markup += ">";
    }

    /// An element that contains text only.
    pub(super) fn leaf(&mut self, name: &str, attributes: Attributes, text: impl Display) {
        self.element(name, attributes, |inside| inside.text(text));
    }

    /// An element of SVG that contains nothing.
    pub(super) fn shape(&mut self, name: &str, attributes: Attributes) {
        self.open(name, attributes);
        self.markup += "/>";
    }

    /// Text.
    pub(super) fn text(&mut self, text: impl Display) {
        self.markup += &escape(&text.to_string());
    }

    /// A link within the site.
    pub(super) fn link(&mut self, target: &str, text: impl Display) {
        self.leaf("a", &[("href", &target)], text);
    }

    /// Something folded away until it is asked for.
    pub(super) fn folded(&mut self, summary: impl Display, content: impl FnOnce(&mut Html)) {
        self.element("details", &[], |inside| {
            inside.leaf("summary", &[], summary);
            content(inside);
        });
    }

    /// Facts as name and value, side by side where there is room.
    pub(super) fn facts(&mut self, facts: &[(&str, String)]) {
        self.element("dl", &[], |list| {
            for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
                list.element("div", &[], |pair| {
                    pair.leaf("dt", &[], name);
                    pair.leaf("dd", &[], value);
                });
            }
        });
    }

    fn open(&mut self, name: &str, attributes: Attributes) {
        self.markup += "<";
        self.markup += name;
        for (attribute, value) in attributes {
            self.markup += &format!(" {attribute}=\"{}\"", escape(&value.to_string()));
        }
    }
}

/// A page that needs no other file. `crumbs` are the pages above it, `twin` is its JSON.
pub(super) fn document(
    title: &str,
    crumbs: &[(&str, &str)],
    twin: &str,
    content: impl FnOnce(&mut Html),
) -> String {
    let mut page = Html { markup: "<!DOCTYPE html>\n".to_owned() };
    page.element("html", &[("lang", &"en")], |html| {
        html.element("head", &[], |head| {
            head.markup += "<meta charset=\"utf-8\">\
                <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
                <meta name=\"color-scheme\" content=\"light dark\">\
                <link rel=\"icon\" href=\"data:,\">";
            head.leaf("title", &[], title);
            // The style is the project's own text, not data.
            head.element("style", &[], |style| style.markup += STYLE);
        });
        html.element("body", &[], |body| {
            body.element("main", &[], |main| {
                if !crumbs.is_empty() {
                    main.element("nav", &[], |nav| {
                        for (target, text) in crumbs {
                            nav.link(target, text);
                            nav.text(" › ");
                        }
                        nav.text(title);
                    });
                }
                content(main);
                main.element("footer", &[], |footer| {
                    footer.text("The same as data: ");
                    footer.link(twin, twin);
                });
            });
        });
    });
    page.markup + "\n"
}

/// Escapes text for element content and for attribute values in double quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::Html;

    #[test]
    fn markup_in_texts_and_attributes_becomes_text() {
        let mut page = Html::default();
        page.leaf("p", &[("title", &"\"<b>\"")], "a < b && \"c\" > d");
        assert_eq!(
            page.markup,
            "<p title=\"&quot;&lt;b&gt;&quot;\">a &lt; b &amp;&amp; &quot;c&quot; &gt; d</p>"
        );
    }
}
