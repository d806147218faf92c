//! What the guard finds, and what it lets pass.

use super::*;

fn guard(mode: Mode) -> Guard {
    let wish = Wish { mode, built_in: BUILT_IN.to_vec(), ..Wish::default() };
    Guard::compile(wish).unwrap()
}

fn found(text: &str) -> Option<String> {
    let json = serde_json::json!({ "a": text }).to_string();
    let finding = guard(Mode::Deny).inspect("s", "t", Json::parse(&json).unwrap())?;
    assert_eq!(&*finding.path, "/a");
    Some(finding.pattern.into_string())
}

#[test]
fn attacks_are_found_by_name() {
    for (name, texts) in [
        (
            "sql_injection",
            &[
                "' OR '1'='1",
                "\" or \"a\"=\"a",
                "x') or ('a'='a",
                "5 OR 1=1",
                "105; DROP TABLE Suppliers",
                "admin'--",
                "admin' #",
                "' or true--",
                "' UNION SELECT null, null--",
                "1 union all select username, password from users",
                "-1' UnIoN SeLeCt @@version",
                "Robert'); DROP TABLE students;--",
                "x'; delete from users where 1=1",
                "1' AND SLEEP(5)",
                "1'; SELECT pg_sleep(10)--",
                "'; WAITFOR DELAY '0:0:5'--",
                "'; exec xp_cmdshell 'dir'",
            ][..],
        ),
        (
            "path_traversal",
            &[
                "../secret.txt",
                "..\\..\\windows\\system32",
                "/srv/files/../../etc/passwd",
                "files/..",
                "..",
                "%2e%2e%2fetc/passwd",
                "..%2fetc",
                "%2e%2e/etc",
                "%252e%252e%252f",
                "..%c0%af..%c0%ae/",
                "/static/..;/admin",
                "image.php\u{0}.png",
            ],
        ),
        (
            "script_tag",
            &[
                "<script>alert(1)</script>",
                "<ScRiPt src=//x>",
                "</script >",
                "<img src=x onerror=alert(1)>",
                "<svg/onload=alert(1)>",
                "<a href=\"javascript:alert(1)\">",
                "JavaScript:alert(1)",
                "<iframe src='//x'>",
            ],
        ),
    ] {
        for text in texts {
            assert_eq!(found(text).as_deref(), Some(name), "{text}");
        }
    }
}

/// What people and agents write all day, some of it about the very things.
#[test]
fn ordinary_text_passes() {
    for text in [
        "Explain the difference between UNION SELECT and UNION ALL SELECT in SQL.",
        "SELECT name, price FROM items WHERE price > 10 ORDER BY name",
        "SELECT a FROM t UNION SELECT b FROM u",
        "select * from users where name = 'O''Brien' and age = 7",
        "UPDATE users SET name = 'x' WHERE id = 5",
        "DROP TABLE is a statement that one should not run on Fridays; delete from time to time.",
        "The attacker then writes OR 1=1, and the query is always true.",
        "It's either this or that; it's 'quoted' and it's fine.",
        "He said 'hello'--then he left.",
        "In the '90s--a decade--we wrote C.",
        "if name == 'a' or other == 'b': return",
        "x = \"a\" if y else \"b\"  # a comment",
        "const s = 'a' || 'b'; // joined",
        "rock 'n' roll and blues",
        "2 or 3 = a few; 1 and 1 = 2 in words: one and one",
        "WHERE id IN (1, 2) AND active = true",
        "print('x'); time.sleep(5)",
        "Please insert into the slot; update it and set a date.",
        "See ../README.md for more, or docs/a..b.md.",
        "Wait... /then/ go on. And so on.../etc.",
        "version 1..2 and 3../4",
        "100% 20%2 50%",
        "The script tag loads code; scripts > styles < data.",
        "a <b> tag, an <img src=\"x.png\" alt=\"on error = no\"> and <description>text</description>",
        "learn javascript: the good parts",
        "onload = the event; onclick=handler outside of tags",
        "if a < b and c > d: on = 1",
        "Ünïcödé — “quotes” ’ and emoji 😀",
        "",
    ] {
        assert_eq!(found(text), None, "{text}");
    }
}

#[test]
fn texts_are_looked_at_as_their_readers_see_them_and_wherever_they_are() {
    let guard = guard(Mode::Log);
    let inspect = |json: &str| guard.inspect("s", "t", Json::parse(json).unwrap());
    let found = inspect(r#"{"a":[1,{"b":"\u003cscript\u003e"}]}"#).unwrap();
    assert_eq!((&*found.pattern, &*found.path), ("script_tag", "/a/1/b"));
    assert!(!found.is_denied);
    // In a key, whose text is not told.
    let found = inspect(r#"{"a":{"<script>":1}}"#).unwrap();
    assert_eq!(&*found.path, "/a");
    let deep = format!("{}\"..\\\\x\"{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(&*inspect(&deep).unwrap().pattern, "path_traversal");
    assert_eq!(inspect("{}"), None);
}

#[test]
fn a_tools_own_word_goes_before_the_general_one() {
    let pattern = |text: &str| Pattern::parse(text).unwrap();
    let list = |server: &str, tool: &str| vec![(pattern(server), vec![pattern(tool)])];
    let wish = Wish {
        mode: Mode::Log,
        deny: list("db", "write_*"),
        off: list("*", "*_raw"),
        built_in: BUILT_IN.to_vec(),
        ..Wish::default()
    };
    let guard = Guard::compile(wish).unwrap();
    for (server, tool, mode) in [
        ("db", "write_row", Mode::Deny),
        ("db", "write_raw", Mode::Deny),
        ("files", "write_raw", Mode::Off),
        ("files", "write_row", Mode::Log),
    ] {
        assert_eq!(guard.mode(server, tool), mode, "{server} {tool}");
    }
}

#[test]
fn own_patterns_are_found_beside_those_that_come_along_and_bad_ones_are_named() {
    let own = |expression: &str| {
        let own = vec![("inside".to_owned(), expression.to_owned())];
        Guard::compile(Wish { mode: Mode::Deny, own, ..Wish::default() })
    };
    let guard = own(r"(?i)\.corp\.example$").unwrap();
    let json = Json::parse(r#"{"host":"db.CORP.example"}"#).unwrap();
    assert_eq!(&*guard.inspect("s", "t", json).unwrap().pattern, "inside");
    let sql = Json::parse(r#"{"a":"' OR '1'='1"}"#).unwrap();
    assert_eq!(guard.inspect("s", "t", sql), None, "the others were not asked for");
    let (name, why) = own("a(b").unwrap_err();
    assert_eq!((&*name, &*why), ("inside", "unclosed group"));
    // What other languages have and what would not take linear time is refused, and so is what grows too large.
    assert!(own(r"(a)\1").is_err() && own("(?=a)").is_err());
    assert!(own(r"(\w{500}){500}").is_err());
}

/// What would keep a matcher that goes back busy until the end of the world.
#[test]
fn texts_that_are_made_to_be_slow_are_not() {
    let guard = guard(Mode::Deny);
    for piece in ["'", "' or ", "<a ", "../.", "%2", "1 union ", "<img onx", "'a'='", " "] {
        let text = piece.repeat(200_000 / piece.len());
        let json = serde_json::json!([text]).to_string();
        let _ = guard.inspect("s", "t", Json::parse(&json).unwrap());
    }
}
