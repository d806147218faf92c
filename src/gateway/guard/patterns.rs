//! The patterns that come along. Each wants what an attack needs and prose lacks: a quote that is broken out of
//! before the SQL, a path that climbs, a tag that runs. What mentions SQL, or is SQL, passes; what a server would
//! paste into its own SQL and be taken over by does not.

/// The expressions of a name of [`super::BUILT_IN`].
pub(super) fn of(name: &str) -> &'static [&'static str] {
    match name {
        "sql_injection" => SQL,
        "path_traversal" => PATH,
        "script_tag" => SCRIPT,
        _ => &[],
    }
}

const SQL: &[&str] = &[
    // ' OR '1'='1   " or "a"="a
    r#"(?i)['"]\s*\)*\s*(?:or|and)\s+\(*\s*(?:'[^']*'\s*=\s*'|"[^"]*"\s*=\s*")"#,
    // ' and 1=1   5 OR 1=1; but 1 and 1 = 2 is arithmetic.
    r#"(?i)['")]\s*(?:or|and)\s+\(*\d+\s*=\s*\d+"#,
    r"(?i)\b\d+\s+or\s+\(*\d+\s*=\s*\d+",
    // ' OR true--
    r#"(?i)['"]\s*\)*\s*or\s+(?:true|not\s+false)\s*(?:--|#|;|/\*)"#,
    // admin'--   admin' #
    r#"['"][\s;)]*(?:--|#)\s*$"#,
    // ' UNION SELECT null, password FROM users
    r#"(?i)(?:['")]|\b\d+)\s*union\s+(?:all\s+|distinct\s+)?select\s+(?:null\b|\d|@@|[\w.*]+\s*[,(]|[\w.*]+\s+from\b)"#,
    // '; DROP TABLE users
    r#"(?i)(?:['")]|\b\d+)\s*;\s*(?:drop\s+(?:table|database|schema|view|index|user)|delete\s+from|insert\s+into|truncate\s+table|alter\s+(?:table|user)|update\s+\w+\s+set|exec(?:ute)?\s+(?:xp_|sp_|immediate)|shutdown\s*(?:--|;|$))\b?"#,
    // ' AND SLEEP(5)   '; SELECT pg_sleep(5)   '; WAITFOR DELAY '0:0:5'
    r#"(?i)(?:['")]|\b\d+)\s*(?:or|and|;\s*select)\s+(?:pg_sleep|sleep|benchmark)\s*\("#,
    r#"(?i)(?:['")]|\b\d+)\s*;?\s*waitfor\s+delay\s+['"]"#,
];

const PATH: &[&str] = &[
    // The whole is a path that begins by climbing, or a path climbs further on.
    r"^\s*\.\.(?:[\\/]|$)",
    r"[\\/]\.\.(?:[\\/]|$)",
    r"\.\.;[\\/]",
    // The same in encodings that a server may read: once, twice, overlong.
    r"(?i)(?:%2e|\.)(?:%2e|\.)(?:%2f|%5c)",
    r"(?i)(?:%2e%2e|%2e\.|\.%2e)[\\/]",
    r"(?i)%252e%252e",
    r"(?i)%c0%ae",
    // What ends a path for who counts in C.
    r"\x00",
    r"(?i)%00",
];

const SCRIPT: &[&str] = &[
    r"(?i)<\s*/?\s*script(?:[\s/>]|$)",
    r"(?i)<\s*(?:iframe|object|embed)\s[^>]*(?:src|data|srcdoc)\s*=",
    // <img src=x onerror=…>
    r"(?i)<[a-z][^>]*[\s/]on(?:error|load|click|dblclick|mouse\w+|key\w+|focus|blur|change|submit|toggle|pointer\w+|animation\w+|begin)\s*=",
    r"(?i)(?:href|src|action|formaction|data)\s*=\s*['\x22]?\s*javascript\s*:",
    r"(?i)^\s*javascript\s*:",
];
