//! `ringgate doctor`: what this host lacks to run at full speed, each with its remedy. Facts are read
//! in `facts`, judged in `checks`, and shown here.

mod checks;
mod facts;

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;

use self::facts::Facts;
use super::screen;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The gateway runs, but not as fast or not as many.
    Warn,
    /// The gateway does not run, or not for long.
    Fail,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub what: &'static str,
    pub found: String,
    pub wanted: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: String,
}

/// Prints the findings of this host. Whether none of them fails.
pub fn doctor(json: bool) -> io::Result<bool> {
    let findings = checks::judge(&Facts::collect(Path::new("/")));
    let text = if json {
        let mut text = serde_json::to_string_pretty(&findings)?;
        text.push('\n');
        text
    } else {
        table(&findings)
    };
    screen::out(&text)?;
    Ok(findings.iter().all(|finding| finding.level != Level::Fail))
}

fn table(findings: &[Finding]) -> String {
    let width = |of: fn(&Finding) -> &str, head: &str| {
        let longest = findings.iter().map(|finding| of(finding).chars().count()).max();
        longest.unwrap_or_default().max(head.len())
    };
    let what = width(|finding| finding.what, "what");
    let found = width(|finding| &finding.found, "found");
    let wanted = width(|finding| &finding.wanted, "wanted");
    let mut out = String::new();
    let mut row = |level: &str, cells: [&str; 3], remedy: &str| {
        let [a, b, c] = cells;
        let line = format!("{level:<4}  {a:<what$}  {b:<found$}  {c:<wanted$}  {remedy}");
        let _infallible = writeln!(out, "{}", line.trim_end());
    };
    row("", ["what", "found", "wanted"], "remedy");
    for finding in findings {
        let cells = [finding.what, finding.found.as_str(), finding.wanted.as_str()];
        row(finding.level.word(), cells, &finding.remedy);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_ends_lines_cleanly() {
        let finding = |level, found: &str, remedy: &str| Finding {
            level,
            what: "x",
            found: found.into(),
            wanted: "2".into(),
            remedy: remedy.into(),
        };
        let text = table(&[finding(Level::Ok, "1", ""), finding(Level::Fail, "123456", "do it")]);
        assert_eq!(
            text,
            "      what  found   wanted  remedy\nok    x     1       2\nfail  x     123456  2       do it\n"
        );
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let findings = checks::judge(&Facts::collect(Path::new("/")));
        assert!(
            findings.iter().any(|finding| finding.what == "kernel" && finding.level == Level::Ok)
        );
        let json = serde_json::to_value(&findings).unwrap();
        assert!(json[0]["level"].is_string() && json[0]["remedy"].is_string());
    }
}
