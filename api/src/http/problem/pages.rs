//! `/problems/<code>`: what a code means, for people who follow a problem's `type`.

use poem::{
    handler,
    web::{Html, Path},
};
use strum::VariantArray;

use super::{Code, Problem};

#[handler]
pub(in crate::http) fn page(Path(code): Path<String>) -> Result<Html<String>, Problem> {
    let code: Code = code.parse().map_err(|_| Problem::new(Code::RouteNotFound))?;
    let advice = marked_up(code.advice());
    Ok(Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{code}</title>\
         <h1>{code}</h1><p><b>{}</b>. Status {}.</p><p>{advice}</p><p><a href=\"/problems\">All problems</a></p></html>",
        code.title(),
        code.status().as_u16(),
    )))
}

#[handler]
pub(in crate::http) fn index() -> Html<String> {
    let row = |code: &Code| {
        let status = code.status().as_u16();
        format!("<tr><td><a href=\"/problems/{code}\">{code}</a><td>{status}<td>{}", code.title())
    };
    let rows: String = Code::VARIANTS.iter().map(row).collect();
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Problems</title><h1>Problems</h1>\
         <table><tr><th>code<th>status<th>meaning{rows}</table></html>"
    ))
}

/// The texts are ours: only their backquotes are markup.
fn marked_up(text: &str) -> String {
    let mut parts = text.split('`');
    let mut marked = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        marked += if number % 2 == 0 { "<code>" } else { "</code>" };
        marked += part;
    }
    marked
}
