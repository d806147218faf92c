//! The arguments of gateway tools: each known by its name, and each once. What is unknown is refused, because a
//! model that wrote `arguments` for `args` would else call its tool with none.

use std::borrow::Cow;

use super::shown;
use crate::wire::Json;

/// The arguments of these names; `null` is as good as none. An error says what is wrong, and what is there.
pub(super) fn read<'a, const N: usize>(
    arguments: Option<Json<'a>>,
    names: [&'static str; N],
) -> Result<[Option<Json<'a>>; N], String> {
    let mut found: [Option<Json<'a>>; N] = [None; N];
    for member in arguments.into_iter().flat_map(Json::members) {
        let name = member.name();
        let Some((_, place)) = names.iter().zip(&mut found).find(|(known, _)| **known == name)
        else {
            return Err(format!(
                "there is no argument {}; there are {}",
                shown(&name),
                names.join(", ")
            ));
        };
        if place.replace(member.value).is_some() {
            return Err(format!("the argument {name} stands twice"));
        }
    }
    Ok(found.map(|value| value.filter(|json| json.text() != "null")))
}

/// A text, if it is there.
pub(super) fn text(value: Option<Json<'_>>, name: &str) -> Result<Option<String>, String> {
    match value {
        None => Ok(None),
        Some(json) => match json.as_str() {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(format!("the argument {name} must be a string")),
        },
    }
}

/// A text that must be there.
pub(super) fn needed(value: Option<Json<'_>>, name: &str) -> Result<String, String> {
    match text(value, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("the argument {name} is needed: a string")),
    }
}

/// A whole number from 1 on, if it is there.
pub(super) fn count(value: Option<Json<'_>>, name: &str) -> Result<Option<u64>, String> {
    let Some(json) = value else { return Ok(None) };
    match json.as_i64().and_then(|count| u64::try_from(count).ok()) {
        Some(count @ 1..) => Ok(Some(count)),
        _ => Err(format!("the argument {name} must be a whole number from 1 on")),
    }
}

/// Texts, in a list or in one text with commas between; `None` where nothing is named.
pub(super) fn texts(value: Option<Json<'_>>, name: &str) -> Result<Option<Vec<String>>, String> {
    let Some(json) = value else { return Ok(None) };
    let wrong = || format!("the argument {name} must be a list of strings");
    let texts: Vec<String> = match json.as_str() {
        Some(one) => one.split(',').map(|text| text.trim().to_owned()).collect(),
        None if json.kind() == crate::wire::json::Kind::Array => json
            .elements()
            .map(|element| element.as_str().map(Cow::into_owned).ok_or_else(wrong))
            .collect::<Result<_, _>>()?,
        None => return Err(wrong()),
    };
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    Ok((!texts.is_empty()).then_some(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "an argument may be missing")]
    fn json(text: &str) -> Option<Json<'_>> {
        Some(Json::parse(text).unwrap())
    }

    #[test]
    fn each_argument_is_found_however_it_is_spelled_and_only_once() {
        let [server, tool] = read(json(r#"{"t\u006fol":"x"}"#), ["server", "tool"]).unwrap();
        assert!(server.is_none());
        assert_eq!(text(tool, "tool"), Ok(Some("x".to_owned())));
        let [none] = read(json(r#"{"a":null}"#), ["a"]).unwrap();
        assert!(none.is_none() && read(None, ["a"]) == Ok([None]));
        assert!(read(json(r#"{"a":1,"\u0061":2}"#), ["a"]).unwrap_err().contains("twice"));
        let wrong = read(json(r#"{"arguments":{}}"#), ["server", "args"]).unwrap_err();
        assert_eq!(wrong, "there is no argument arguments; there are server, args");
    }

    #[test]
    fn names_come_in_a_list_or_with_commas() {
        let both = Ok(Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(texts(json(r#"["a","b"]"#), "names"), both);
        assert_eq!(texts(json(r#""a, b,""#), "names"), both);
        assert_eq!(texts(json(r#"" , ""#), "names"), Ok(None));
        assert!(texts(json("[1]"), "names").is_err() && texts(json("{}"), "names").is_err());
    }

    #[test]
    fn counts_are_whole_and_above_nothing() {
        assert_eq!(count(json("7"), "n"), Ok(Some(7)));
        for wrong in ["0", "-1", "1.5", "1e3", "\"7\"", "99999999999999999999"] {
            assert!(count(json(wrong), "n").is_err(), "{wrong}");
        }
    }
}
