//! Text with slots to [`Scalar`], by precedence climbing with PostgreSQL's precedences.

use super::{CastTo, Comparison, EvalError, Result, Scalar, unknown};
use crate::value::{Decimal, Value};
use pg_trickle_core::expr::{Moment, Piece, Time};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word outside quotes, in lower case, with its schema removed.
    Word(String),
    /// A quoted identifier.
    Quoted(String),
    Number(String),
    String(String),
    Symbol(String),
    Column(usize),
    Outer(u32, usize),
    Time(Moment),
}

pub(super) fn parse(pieces: &[Piece]) -> Result<Scalar> {
    let mut tokens = vec![];
    for piece in pieces {
        match piece {
            Piece::Text(text) => tokenize(text, &mut tokens)?,
            Piece::Column(position) => tokens.push(Token::Column(*position)),
            Piece::Outer(depth, position) => tokens.push(Token::Outer(*depth, *position)),
            Piece::Time(Time::Read(moment)) => tokens.push(Token::Time(*moment)),
            Piece::Time(Time::Open) => tokens.push(Token::Symbol("(".into())),
            Piece::Time(Time::Operator { operator, .. }) => tokenize(operator, &mut tokens)?,
            Piece::Time(Time::Close) => tokens.push(Token::Symbol(")".into())),
        }
    }
    let mut parser = Parser { tokens, next: 0 };
    let scalar = parser.expression(0)?;
    match parser.peek() {
        None => Ok(scalar),
        Some(rest) => Err(unknown(&format!("{rest:?} after an expression"))),
    }
}

fn tokenize(text: &str, tokens: &mut Vec<Token>) -> Result<()> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        let run = |from: usize, accept: &dyn Fn(char) -> bool| {
            chars[from..].iter().position(|&c| !accept(c)).map_or(chars.len(), |length| from + length)
        };
        match chars[at] {
            c if c.is_whitespace() => at += 1,
            c if c.is_ascii_digit() => {
                at = run(at, &|c| c.is_ascii_digit() || c == '.');
                tokens.push(Token::Number(chars[start..at].iter().collect()));
            }
            c if c.is_alphabetic() || c == '_' => {
                at = run(at, &|c| c.is_alphanumeric() || c == '_' || c == '.');
                let word: String = chars[start..at].iter().collect::<String>().to_lowercase();
                tokens.push(Token::Word(word.rsplit('.').next().unwrap_or_default().to_owned()));
            }
            quote @ ('\'' | '"') => {
                let mut content = String::new();
                at += 1;
                loop {
                    match (chars.get(at), chars.get(at + 1)) {
                        (Some(c), Some(d)) if *c == quote && *d == quote => {
                            content.push(quote);
                            at += 2;
                        }
                        (Some(c), _) if *c == quote => break,
                        (Some(c), _) => {
                            content.push(*c);
                            at += 1;
                        }
                        (None, _) => return Err(unknown("an unterminated quote")),
                    }
                }
                at += 1;
                tokens.push(if quote == '"' { Token::Quoted(content) } else { Token::String(content) });
            }
            '(' | ')' | ',' | '[' | ']' | '.' => {
                tokens.push(Token::Symbol(chars[at].to_string()));
                at += 1;
            }
            ':' => {
                tokens.push(Token::Symbol("::".into()));
                at += 2;
            }
            c if "+-*/%<>=|!".contains(c) => {
                // A sign directly after another operator is a token of its own: `1 - -2`.
                at = run(at + 1, &|c| "<>=|".contains(c));
                tokens.push(Token::Symbol(chars[start..at].iter().collect()));
            }
            c => return Err(unknown(&format!("character {c:?}"))),
        }
    }
    Ok(())
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

// Binding powers, weakest first.
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const IS: u8 = 4;
const COMPARE: u8 = 5;
const IN: u8 = 6;
const OTHER: u8 = 7;
const ADD: u8 = 8;
const MULTIPLY: u8 = 9;
const SIGN: u8 = 10;
const CAST: u8 = 11;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Result<Token> {
        let token = self.peek().cloned().ok_or_else(|| unknown("the end of an expression"))?;
        self.next += 1;
        Ok(token)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(token) | Token::Symbol(token)) if token == text);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.eat(text) {
            return Ok(());
        }
        Err(unknown(&format!("{:?} where {text:?} is expected", self.peek())))
    }

    /// The infix operator at the cursor, and how strongly it binds.
    fn infix(&self) -> Option<(String, u8)> {
        let text = match self.peek()? {
            Token::Word(text) | Token::Symbol(text) => text.clone(),
            _ => return None,
        };
        let power = match text.as_str() {
            "or" => OR,
            "and" => AND,
            "is" | "isnull" | "notnull" => IS,
            "=" | "<>" | "!=" | "<" | "<=" | ">" | ">=" => COMPARE,
            "in" | "not" | "between" => IN,
            "||" | "operator" => OTHER,
            "+" | "-" => ADD,
            "*" | "/" | "%" => MULTIPLY,
            "::" | "collate" => CAST,
            _ => return None,
        };
        Some((text, power))
    }

    fn expression(&mut self, above: u8) -> Result<Scalar> {
        let mut left = self.prefix()?;
        while let Some((operator, power)) = self.infix() {
            if power <= above {
                break;
            }
            self.next += 1;
            left = self.apply(left, &operator, power)?;
        }
        Ok(left)
    }

    fn apply(&mut self, left: Scalar, operator: &str, power: u8) -> Result<Scalar> {
        let left = Box::new(left);
        Ok(match operator {
            "or" => Scalar::Or(left, Box::new(self.expression(power)?)),
            "and" => Scalar::And(left, Box::new(self.expression(power)?)),
            "is" => self.is_test(left)?,
            "||" => Scalar::Concatenate(left, Box::new(self.expression(power)?)),
            "operator" => {
                self.expect("(")?;
                // The schema is a word with its qualification removed and may leave a dot behind.
                let mut operator = self.take()?;
                while !matches!(&operator, Token::Symbol(symbol) if symbol != ".") {
                    operator = self.take()?;
                }
                self.expect(")")?;
                let Token::Symbol(operator) = operator else { return Err(unknown("an operator")) };
                self.apply(*left, &operator, power)?
            }
            "::" => Scalar::Cast(left, self.type_name()?),
            "collate" => {
                self.take()?;
                while self.eat(".") {
                    self.take()?;
                }
                *left
            }
            "between" => {
                let low = self.expression(OTHER)?;
                self.expect("and")?;
                let high = self.expression(OTHER)?;
                Scalar::And(
                    Box::new(Scalar::Compare(Comparison::GreaterOrEqual, left.clone(), Box::new(low))),
                    Box::new(Scalar::Compare(Comparison::LessOrEqual, left, Box::new(high))),
                )
            }
            "in" => self.in_list(*left)?,
            "not" => {
                self.expect("in")?;
                Scalar::Not(Box::new(self.in_list(*left)?))
            }
            "+" | "-" | "*" | "/" | "%" => {
                let symbol = operator.chars().next().unwrap_or('+');
                Scalar::Arithmetic(symbol, left, Box::new(self.expression(power)?))
            }
            comparison => {
                Scalar::Compare(comparison_of(comparison)?, left, Box::new(self.expression(power)?))
            }
        })
    }

    fn is_test(&mut self, left: Box<Scalar>) -> Result<Scalar> {
        let negated = self.eat("not");
        match self.take()? {
            Token::Word(word) => Ok(match word.as_str() {
                "null" | "unknown" => Scalar::IsNull(left, !negated),
                "true" => Scalar::IsBool(left, true, !negated),
                "false" => Scalar::IsBool(left, false, !negated),
                "distinct" => {
                    self.expect("from")?;
                    Scalar::IsDistinct(left, Box::new(self.expression(IS)?), !negated)
                }
                other => return Err(unknown(&format!("IS {other}"))),
            }),
            other => Err(unknown(&format!("IS {other:?}"))),
        }
    }

    fn in_list(&mut self, left: Scalar) -> Result<Scalar> {
        self.expect("(")?;
        let equal = |item| Scalar::Compare(Comparison::Equal, Box::new(left.clone()), Box::new(item));
        let mut test = equal(self.expression(0)?);
        while self.eat(",") {
            test = Scalar::Or(Box::new(test), Box::new(equal(self.expression(0)?)));
        }
        self.expect(")")?;
        Ok(test)
    }

    fn prefix(&mut self) -> Result<Scalar> {
        Ok(match self.take()? {
            Token::Column(position) => Scalar::Column(position),
            Token::Outer(depth, position) => Scalar::Outer(depth, position),
            Token::Time(moment) => Scalar::Time(moment),
            Token::Number(text) => Scalar::Constant(number(&text)?),
            Token::String(text) => Scalar::Constant(Value::Text(text)),
            Token::Quoted(name) => return Err(unknown(&format!("identifier {name}"))),
            Token::Symbol(symbol) => match symbol.as_str() {
                "(" => {
                    let inner = self.expression(0)?;
                    self.expect(")")?;
                    inner
                }
                "-" => Scalar::Negate(Box::new(self.expression(SIGN)?)),
                "+" => self.expression(SIGN)?,
                other => return Err(unknown(&format!("{other:?} before an operand"))),
            },
            Token::Word(word) => match word.as_str() {
                "not" => Scalar::Not(Box::new(self.expression(NOT)?)),
                "null" => Scalar::Constant(Value::Null),
                "true" => Scalar::Constant(Value::Bool(true)),
                "false" => Scalar::Constant(Value::Bool(false)),
                "case" => self.case()?,
                "cast" => {
                    self.expect("(")?;
                    let operand = self.expression(0)?;
                    self.expect("as")?;
                    let to = self.type_name()?;
                    self.expect(")")?;
                    Scalar::Cast(Box::new(operand), to)
                }
                function => {
                    self.expect("(")?;
                    Scalar::Call(function.to_owned(), self.arguments()?)
                }
            },
        })
    }

    fn arguments(&mut self) -> Result<Vec<Scalar>> {
        let mut args = vec![];
        if self.eat(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            if self.eat(")") {
                return Ok(args);
            }
            self.expect(",")?;
        }
    }

    fn case(&mut self) -> Result<Scalar> {
        let operand = if matches!(self.peek(), Some(Token::Word(word)) if word == "when") {
            None
        } else {
            Some(self.expression(0)?)
        };
        let mut arms = vec![];
        while self.eat("when") {
            let condition = self.expression(0)?;
            let condition = match &operand {
                None => condition,
                Some(operand) => {
                    Scalar::Compare(Comparison::Equal, Box::new(operand.clone()), Box::new(condition))
                }
            };
            self.expect("then")?;
            arms.push((condition, self.expression(0)?));
        }
        let otherwise = if self.eat("else") { self.expression(0)? } else { Scalar::Constant(Value::Null) };
        self.expect("end")?;
        Ok(Scalar::Case(arms, Box::new(otherwise)))
    }

    fn type_name(&mut self) -> Result<CastTo> {
        let name = match self.take()? {
            Token::Word(name) | Token::Quoted(name) => name,
            other => return Err(unknown(&format!("{other:?} as a type"))),
        };
        let mut modifiers = vec![];
        if self.eat("(") {
            while let Token::Number(modifier) = self.take()? {
                modifiers.push(modifier.parse::<u32>().map_err(|_| unknown("a type modifier"))?);
                if !self.eat(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        let to = match name.as_str() {
            "int2" | "int4" | "int8" | "smallint" | "integer" | "bigint" => CastTo::Int,
            // Of floats, generated plans have quotients only, which are exact here.
            "float8" => CastTo::Numeric(None),
            "numeric" => CastTo::Numeric(match modifiers.as_slice() {
                [] => None,
                [_] => Some(0),
                [_, scale, ..] => Some(*scale),
            }),
            "text" | "bytea" => CastTo::Text,
            "bool" | "boolean" => CastTo::Bool,
            _ => return Err(unknown(&format!("type {name}"))),
        };
        if self.eat("[") {
            self.expect("]")?;
            return Ok(CastTo::Array);
        }
        Ok(to)
    }
}

fn comparison_of(operator: &str) -> Result<Comparison> {
    Ok(match operator {
        "=" => Comparison::Equal,
        "<>" | "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        other => return Err(unknown(&format!("operator {other}"))),
    })
}

fn number(text: &str) -> Result<Value> {
    if text.contains('.') {
        return Decimal::parse(text).map(Value::Numeric).ok_or_else(|| unknown(text));
    }
    text.parse().map(Value::Int).map_err(|_| EvalError::OutOfRange)
}
