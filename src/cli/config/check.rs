//! `config check`: everything at once that would keep a worker from starting, with what helps.

use serde::Serialize;

use super::{Code, Config, ConfigError, ExitError, Fault, Output, Paint, Place, Sources, connect, shown, tame};
use crate::cli::parts;
use crate::cli::rules::read as read_rules;
use crate::config::{Broker, Database};
use crate::domain::rules::RuleSet;
use crate::store::postgres::clear_text_warning;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Checked {
    ok: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    /// What broker and database say that is well.
    seen: Vec<Finding>,
    /// How the command ends: what has to be mended first.
    #[serde(skip)]
    code: Option<Code>,
}

/// One thing that was found.
#[derive(Debug, Serialize)]
struct Finding {
    /// A key, a file, `settings`, `database` or `broker`.
    about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Place>,
    message: String,
}

fn finding(about: &str, message: impl Into<String>) -> Finding {
    Finding { about: about.to_owned(), origin: None, message: message.into() }
}

impl Checked {
    /// Something that keeps a worker from working.
    pub(super) fn error(&mut self, about: &str, code: Code, message: impl Into<String>) {
        self.end_with(code);
        self.errors.push(finding(about, message));
    }

    pub(super) fn warn(&mut self, about: &str, message: impl Into<String>) {
        self.warnings.push(finding(about, message));
    }

    pub(super) fn see(&mut self, about: &str, message: impl Into<String>) {
        self.seen.push(finding(about, message));
    }

    /// Takes over what was found elsewhere.
    pub(super) fn take(&mut self, other: Self) {
        if let Some(code) = other.code {
            self.end_with(code);
        }
        self.errors.extend(other.errors);
        self.warnings.extend(other.warnings);
        self.seen.extend(other.seen);
    }

    fn faults(&mut self, error: ConfigError) {
        self.end_with(Code::Configuration);
        match error {
            ConfigError::File { place, message } => self.errors.push(finding(&place, message)),
            ConfigError::Faults(faults) => {
                let finding = |Fault { key, origin, message }: Fault| Finding {
                    origin: Some(Place::from(&origin)),
                    about: key,
                    message,
                };
                self.errors.extend(faults.into_iter().map(finding));
            }
        }
    }

    /// What is found wrong only when it is used stands where it was set, like everything else.
    fn place(&mut self, sources: &Sources) {
        // Whatever cannot be gathered has been told.
        let Ok((settings, _)) = shown::settings(sources) else { return };
        for finding in self.errors.iter_mut().chain(&mut self.warnings).filter(|finding| finding.origin.is_none()) {
            let setting = settings.iter().find(|setting| setting.key == finding.about);
            finding.origin = setting.map(|setting| Place::from(&setting.origin));
        }
    }

    /// Of several codes the one that has to be mended first: what is not reached cannot be judged.
    fn end_with(&mut self, code: Code) {
        let rank = |code| match code {
            Code::Configuration => 2,
            Code::Unreachable => 1,
            _ => 0,
        };
        self.code = Some(self.code.filter(|known| rank(*known) >= rank(code)).unwrap_or(code));
    }
}

pub(super) async fn run(sources: &Sources, connect: bool, output: &Output) -> Result<(), ExitError> {
    let checked = look(sources, connect).await;
    output.object(&checked, table)?;
    let what = match checked.errors.len() {
        1 => "1 thing keeps a worker from working".to_owned(),
        count => format!("{count} things keep a worker from working"),
    };
    checked.code.map_or(Ok(()), |code| Err(ExitError::new(code, what)))
}

async fn look(sources: &Sources, connect: bool) -> Checked {
    let mut checked = Checked::default();
    match Config::load(sources) {
        Ok(config) => {
            let whole = settled(&config, &mut checked);
            rules(&config, &mut checked);
            if connect && whole {
                connect::run(&config, &mut checked).await;
            }
        }
        Err(error) => checked.faults(error),
    }
    checked.place(sources);
    checked.ok = checked.errors.is_empty();
    checked
}

/// What is wrong with the settings together, or would be warned about at the start; whether there are two servers to ask.
fn settled(config: &Config, checked: &mut Checked) -> bool {
    for warning in config.warnings() {
        checked.warn("settings", warning);
    }
    let before = checked.errors.len();
    match config.database() {
        Ok(Database::Postgres(url)) => match clear_text_warning(url.expose()) {
            Ok(warning) => warning.into_iter().for_each(|warning| checked.warn("database.url", warning)),
            Err(error) => checked.error("database.url", Code::Configuration, error.to_string()),
        },
        Ok(Database::Sqlite(_)) => {}
        Err(error) => checked.faults(error),
    }
    match config.broker() {
        Ok(Broker::Rabbit(_)) => match parts::rabbit(config) {
            Ok(rabbit) => rabbit.warning().into_iter().for_each(|warning| checked.warn("amqp.url", warning)),
            Err(error) => checked.error("amqp.url", error.code, error.message),
        },
        Ok(Broker::Embedded) => {}
        Err(error) => checked.faults(error),
    }
    checked.errors.len() == before
}

/// How bad the rules are is said by `rules check`; here only whether a worker takes them.
fn rules(config: &Config, checked: &mut Checked) {
    let name = config.rules.display();
    let text = match read_rules(&config.rules) {
        Ok(text) => text,
        Err(why) => {
            let message = format!("{why}; set REPRIEVE_RULES to the path of the rules file");
            return checked.error("rules", Code::Configuration, message);
        }
    };
    let report = RuleSet::check(&text).report;
    if let Some(first) = report.errors.first() {
        let count = report.errors.len();
        let message = format!("{name} has {count} errors, the first at {first}; `reprieve rules check` shows all");
        checked.error("rules", Code::Configuration, message);
    } else if !report.warnings.is_empty() {
        let count = report.warnings.len();
        checked.warn("rules", format!("{name} has {count} warnings: `reprieve rules check` shows them"));
    }
}

fn table(checked: &Checked, paint: Paint) -> String {
    let line = |mark: String, Finding { about, origin, message }: &Finding| {
        let origin = origin.as_ref().filter(|origin| !matches!(origin, Place::Default));
        let origin = origin.map(|origin| format!(" ({})", origin.told())).unwrap_or_default();
        format!("{mark} {}{}: {}", tame(about), tame(&origin), tame(message))
    };
    let errors = checked.errors.iter().map(|finding| line(paint.bad("error"), finding));
    let warnings = checked.warnings.iter().map(|finding| line(paint.warn("warning"), finding));
    let seen = checked.seen.iter().map(|finding| line(paint.good("ok"), finding));
    let mut lines: Vec<_> = errors.chain(warnings).chain(seen).collect();
    if checked.ok {
        lines.push(paint.good("a worker can start with this"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors, each as it is shown.
    async fn told(environment: &[(&str, &str)]) -> (Option<Code>, String) {
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let checked = look(&Sources { environment, ..Sources::default() }, false).await;
        (checked.code, table(&checked, Paint::Plain))
    }

    #[tokio::test]
    async fn what_is_found_only_in_use_has_its_place_and_a_remedy_too() {
        let rules = ("REPRIEVE_RULES", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rules.yaml"));
        let broker = ("AMQP_URL", "amqp://h");
        for (bad, place, remedy) in [
            (
                ("DATABASE_URL", "postgres://u@h:port/d"),
                "database.url (environment DATABASE_URL)",
                "expected postgres://",
            ),
            (("AMQP_URL", "amqp://h:99999"), "amqp.url (environment AMQP_URL)", "write amqp://user"),
            (("REPRIEVE_RULES", "/no/such/rules"), "rules (environment REPRIEVE_RULES)", "set REPRIEVE_RULES to"),
        ] {
            let database = ("DATABASE_URL", "postgres://u@localhost/d");
            let mut environment = vec![rules, broker, database];
            environment.retain(|(name, _)| *name != bad.0);
            environment.push(bad);
            let (code, said) = told(&environment).await;
            assert_eq!(code, Some(Code::Configuration), "{said}");
            let line = said.lines().find(|line| line.starts_with("error ")).unwrap_or_default();
            assert!(line.starts_with(&format!("error {place}: ")) && line.contains(remedy), "{said}");
        }
    }
}
