//! `${VAR}` in an `mcp.json`, as Claude Code, Cursor and VS Code write it.

use std::collections::BTreeMap;
use std::path::Path;

/// Expands `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${userHome}` and `${workspaceFolder}`. The error
/// names the first that has no value and what to do.
pub(super) fn expand(
    text: &str,
    variables: &BTreeMap<String, String>,
    workspace: &Path,
) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, behind)) = after.split_once('}') else {
            // A shell's `${` without an end is the program's business.
            out.push_str("${");
            rest = after;
            continue;
        };
        out.push_str(&value(inside, variables, workspace)?);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(
    inside: &str,
    variables: &BTreeMap<String, String>,
    workspace: &Path,
) -> Result<String, (String, String)> {
    let unset = |name: &str| {
        (
            format!("${{{inside}}}: the variable {name} is not set"),
            format!("set {name}, or write ${{{name}:-default}}"),
        )
    };
    match inside {
        "userHome" => return variables.get("HOME").cloned().ok_or_else(|| unset("HOME")),
        "workspaceFolder" => return Ok(workspace.display().to_string()),
        _ => {}
    }
    if inside.starts_with("input:") {
        return Err((
            format!("${{{inside}}} asks a person, which only an editor can"),
            "use ${VAR} and set the variable".to_owned(),
        ));
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside.strip_prefix("env:").unwrap_or(inside), None),
    };
    match (variables.get(name), default) {
        // As in a shell, `:-` also replaces an empty value.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(unset(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, (String, String)> {
        let variables = [("TOKEN", "t0k"), ("EMPTY", ""), ("HOME", "/home/me")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        expand(text, &variables.into(), Path::new("/project"))
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("Bearer ${TOKEN}!", "Bearer t0k!"),
            ("${TOKEN}${TOKEN}", "t0kt0k"),
            ("${env:TOKEN}", "t0k"),
            ("${GONE:-other}", "other"),
            ("${GONE:-}", ""),
            ("${EMPTY:-other}", "other"),
            ("${EMPTY}", ""),
            ("${userHome}/x", "/home/me/x"),
            ("${workspaceFolder}/x", "/project/x"),
            ("${unclosed", "${unclosed"),
            ("$TOKEN", "$TOKEN"),
        ] {
            assert_eq!(expanded(text), Ok(wanted.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_variable_without_a_value_is_named() {
        let (what, remedy) = expanded("${GONE}").unwrap_err();
        assert_eq!(what, "${GONE}: the variable GONE is not set");
        assert_eq!(remedy, "set GONE, or write ${GONE:-default}");
        assert!(expanded("${input:key}").unwrap_err().0.contains("asks a person"));
    }
}
