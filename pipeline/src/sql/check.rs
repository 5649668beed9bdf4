//! What is checked before the engine sees a statement: its size, its nesting, and that it is one query and no more.
//!
//! The engine plans recursively, and with the square of what it is given. So words and levels are counted first, each
//! by a pass that does not recurse, or in numbers that have been bounded before.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SetExpr, Statement, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::names::Names;
use super::{Limit, Limits, SqlError};

/// Calls of itself that the parser needs for a level of nesting, at most.
const PARSER_CALLS_PER_LEVEL: usize = 3;

/// The one query that `sql` is.
pub(super) fn check(sql: &str, limits: &Limits) -> Result<Statement, SqlError> {
    if sql.len() > limits.statement_bytes {
        return Err(SqlError::over(Limit::StatementBytes, limits.statement_bytes));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| SqlError::Syntax { detail: error.to_string() })?;
    count(&tokens, limits)?;
    let mut statements = Parser::new(&dialect)
        .with_recursion_limit(limits.depth * PARSER_CALLS_PER_LEVEL)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| match error {
            ParserError::RecursionLimitExceeded => SqlError::over(Limit::Depth, limits.depth),
            ParserError::TokenizerError(detail) | ParserError::ParserError(detail) => SqlError::Syntax { detail },
        })?;
    let statement = match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => statement,
        (Some(_), false) => return Err(SqlError::refused("one statement at a time, please")),
        (None, _) => return Err(SqlError::Syntax { detail: "there is no statement".to_owned() }),
    };
    let Statement::Query(_) = &statement else {
        return Err(SqlError::refused("only queries can be asked: SELECT, WITH … SELECT, VALUES"));
    };
    let mut guard = Guard { names: Names::default(), depth: 0, limit: limits.depth };
    match statement.visit(&mut guard) {
        ControlFlow::Continue(()) => Ok(statement),
        ControlFlow::Break(error) => Err(error),
    }
}

fn count(tokens: &[TokenWithSpan], limits: &Limits) -> Result<(), SqlError> {
    let (mut words, mut open) = (0_usize, 0_usize);
    for token in tokens {
        match token.token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => open += 1,
            Token::RParen | Token::RBracket | Token::RBrace => open = open.saturating_sub(1),
            _ => {}
        }
        words += 1;
        if words > limits.tokens {
            return Err(SqlError::over(Limit::Tokens, limits.tokens));
        }
        if open > limits.depth {
            return Err(SqlError::over(Limit::Depth, limits.depth));
        }
    }
    Ok(())
}

/// Walks through a query that was parsed.
struct Guard {
    names: Names,
    depth: usize,
    limit: usize,
}

type Verdict = ControlFlow<SqlError>;

impl Guard {
    fn down(&mut self) -> Verdict {
        self.depth += 1;
        if self.depth > self.limit {
            return ControlFlow::Break(SqlError::over(Limit::Depth, self.limit));
        }
        ControlFlow::Continue(())
    }

    fn up(&mut self) -> Verdict {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    /// The operators between the parts of a query, which the walk does not show: all of them must combine rows.
    fn body(&self, body: &SetExpr) -> Result<(), SqlError> {
        let mut parts = vec![(body, self.depth)];
        while let Some((part, depth)) = parts.pop() {
            if depth > self.limit {
                return Err(SqlError::over(Limit::Depth, self.limit));
            }
            match part {
                SetExpr::SetOperation { left, right, .. } => {
                    parts.extend([(&**left, depth + 1), (&**right, depth + 1)])
                }
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                    return Err(SqlError::refused("nothing can be changed here: only queries can be asked"));
                }
                SetExpr::Table(_) => return Err(SqlError::refused("write `SELECT * FROM` instead of `TABLE`")),
            }
        }
        Ok(())
    }

    fn query(&mut self, query: &Query) -> Result<(), SqlError> {
        self.body(&query.body)?;
        if !query.locks.is_empty() {
            return Err(SqlError::refused("nothing can be locked here"));
        }
        if query.settings.is_some() || query.format_clause.is_some() || query.for_clause.is_some() {
            return Err(SqlError::refused("a query has no settings and no format of its own"));
        }
        let Some(with) = &query.with else { return Ok(()) };
        if with.recursive {
            return Err(SqlError::refused("recursive queries are not available"));
        }
        self.names.define(with);
        Ok(())
    }
}

impl Visitor for Guard {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> Verdict {
        self.down()?;
        verdict(self.query(query))
    }

    fn post_visit_query(&mut self, _: &Query) -> Verdict {
        self.up()
    }

    fn pre_visit_select(&mut self, select: &Select) -> Verdict {
        match select.into {
            Some(_) => ControlFlow::Break(SqlError::refused("nothing can be created here: only queries can be asked")),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Verdict {
        verdict(self.names.check(factor))
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> Verdict {
        self.down()
    }

    fn post_visit_expr(&mut self, _: &Expr) -> Verdict {
        self.up()
    }
}

fn verdict(result: Result<(), SqlError>) -> Verdict {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        statement_bytes: 4_096,
        tokens: 200,
        depth: 20,
        memory_bytes: 0,
        rows: 0,
        row_bytes: 0,
        answer_bytes: 0,
    };

    /// What becomes of a statement, as a word.
    fn verdict_on(sql: &str) -> String {
        match check(sql, &LIMITS) {
            Ok(_) => "ok".to_owned(),
            Err(SqlError::Limit { limit, .. }) => limit.setting().to_owned(),
            Err(SqlError::Syntax { .. }) => "syntax".to_owned(),
            Err(SqlError::Refused { .. }) => "refused".to_owned(),
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn only_queries_over_known_tables_pass() {
        for (sql, expected) in [
            ("SELECT 1", "ok"),
            ("SELECT 1;", "ok"),
            ("/* a */ select -- b\n count(*) FROM Events e WHERE e.visitor_id = $1", "ok"),
            ("VALUES (1), (2)", "ok"),
            (
                "WITH a AS (SELECT 1 AS x), \"B\" AS (SELECT * FROM a) SELECT * FROM \"B\" UNION ALL SELECT * FROM a",
                "ok",
            ),
            ("SELECT * FROM generate_series(1, 3) s, unnest([1, 2]) u", "ok"),
            ("SELECT * FROM (SELECT * FROM sessions) s JOIN visitors v ON true", "ok"),
            ("", "syntax"),
            (";;", "syntax"),
            ("SELEKT 1", "syntax"),
            ("SELECT 'open", "syntax"),
            ("SELECT 1; SELECT 2", "refused"),
            ("SELECT 1; DROP TABLE events", "refused"),
            ("EXPLAIN SELECT 1", "refused"),
            ("SHOW ALL", "refused"),
            ("SET x = 1", "refused"),
            ("COPY events TO 'x'", "refused"),
            ("INSERT INTO events SELECT 1", "refused"),
            ("WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x", "refused"),
            ("SELECT * INTO x FROM events", "refused"),
            ("SELECT * FROM events FOR UPDATE", "refused"),
            ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "refused"),
            ("SELECT (WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r)", "refused"),
            ("SELECT * FROM '/etc/passwd'", "refused"),
            ("SELECT * FROM information_schema.tables", "refused"),
            ("SELECT * FROM public.events", "refused"),
            ("SELECT * FROM accounts", "refused"),
            ("SELECT * FROM \"Events\"", "refused"),
            ("SELECT * FROM read_parquet('x')", "refused"),
            ("SELECT 1 WHERE EXISTS (SELECT * FROM a.b.c)", "refused"),
        ] {
            assert_eq!(verdict_on(sql), expected, "{sql}");
        }
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        let repeated = |part: &str, times: usize| part.repeat(times);
        for (sql, expected) in [
            (format!("SELECT '{}'", repeated("x", 4_096)), "sql.max_statement_bytes"),
            (format!("SELECT 1{}", repeated("+1", 150)), "sql.max_tokens"),
            (format!("SELECT 1{}", repeated("+1", 30)), "sql.max_depth"),
            (format!("SELECT 1{}", repeated("+1", 10)), "ok"),
            (format!("SELECT {}1{}", repeated("(", 30), repeated(")", 30)), "sql.max_depth"),
            (format!("SELECT {}1", repeated("- ", 90)), "sql.max_depth"),
            (format!("SELECT {}1", repeated("NOT ", 90)), "syntax"),
            (format!("SELECT 1{}", repeated(" UNION SELECT 1", 30)), "sql.max_depth"),
            (format!("SELECT 1 IN (1{})", repeated(",1", 60)), "ok"),
            (format!("SELECT 1 -- {}", repeated("word ", 300)), "ok"),
        ] {
            assert_eq!(verdict_on(&sql), expected, "{}", &sql[..sql.len().min(60)]);
        }
    }
}
