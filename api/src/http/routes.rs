//! Which methods an address knows, as the document says.

use serde_json::Value;

/// Served beside the operations of the document.
const PAGES: [&str; 5] = ["/docs", "/openapi.json", "/problems", "/problems/{code}", "/ws"];

/// The addresses and their methods.
pub(super) struct Routes(Vec<(Vec<Segment>, String)>);

enum Segment {
    Literal(String),
    Parameter,
}

impl Routes {
    pub(super) fn new(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.map(|(path, item)| {
            let methods = item.as_object().into_iter().flat_map(|item| item.keys()).map(|method| method.to_uppercase());
            (segments(path), allow(methods.collect()))
        });
        let pages = PAGES.into_iter().map(|path| (segments(path), allow(vec!["GET".to_owned()])));
        Self(operations.chain(pages).collect())
    }

    /// The methods of the address, as the header `Allow` lists them. None where there is nothing.
    pub(super) fn allow(&self, path: &str) -> Option<&str> {
        let asked: Vec<&str> = parts(path).collect();
        let fits = |segments: &[Segment]| {
            segments.len() == asked.len()
                && segments.iter().zip(&asked).all(|(segment, part)| match segment {
                    Segment::Literal(literal) => literal == part,
                    Segment::Parameter => true,
                })
        };
        // A literal route is the one that is served, where a parameter would fit too.
        let literals = |segments: &[Segment]| segments.iter().filter(|it| matches!(it, Segment::Literal(_))).count();
        let fitting = self.0.iter().filter(|(segments, _)| fits(segments));
        fitting.max_by_key(|(segments, _)| literals(segments)).map(|(_, allow)| allow.as_str())
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

fn segments(path: &str) -> Vec<Segment> {
    let segment = |part: &str| {
        if part.starts_with('{') { Segment::Parameter } else { Segment::Literal(part.to_owned()) }
    };
    parts(path).map(segment).collect()
}

fn allow(mut methods: Vec<String>) -> String {
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    methods.push("OPTIONS".to_owned());
    methods.sort();
    methods.join(", ")
}
