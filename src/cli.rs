//! The command line's frame: arguments, exit codes, dispatch. What a command does is in the file of its noun; how it
//! prints is in `output`. Data goes to stdout, everything else to stderr.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser, Subcommand};

use crate::config::{Config, ConfigError, LogFormat, Sources};
use crate::telemetry;

mod audit;
mod completions;
mod config;
mod dev;
mod events;
mod exceptions;
mod exit;
mod failures;
mod health;
mod help;
mod input;
mod man;
mod migrate;
mod outbox;
mod output;
mod parked;
mod parts;
mod rules;
mod run;
mod schema;
mod stats;
mod tickets;
mod topology;

pub use exit::{Code, ExitError};

use output::{Color, Format, Output};

/// The command line as it was typed.
#[derive(Debug, Parser)]
#[command(name = "reprieve", version, about = ABOUT, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Arguments {
    /// Read settings from this file instead of reprieve.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    config: Option<PathBuf>,
    /// Set one setting, before environment and file; not for secrets
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = GLOBAL)]
    set: Vec<String>,
    /// How to print data
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, help_heading = GLOBAL)]
    output: Format,
    /// When to use colors; off too where `NO_COLOR` is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, help_heading = GLOBAL)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

/// Where the help lists what every command takes: after its own options.
const GLOBAL: &str = "Global options";
const ABOUT: &str = "Decides over vulnerability exception requests: events in, rules, events out, on RabbitMQ and Postgres or without servers.";
const AFTER_HELP: &str = "\
Examples:
  reprieve dev                            # try it: nothing has to be installed
  reprieve migrate up                     # then, on servers: the schema, the broker's objects, the worker
  reprieve topology apply                 # needs the right to declare
  reprieve run                            # until SIGTERM
  reprieve failures groups                # what could not be processed, by kind

Environment: DATABASE_URL, AMQP_URL, REPRIEVE_RULES, REPRIEVE_HTTP_LISTEN; any other setting is REPRIEVE_<SECTION>__<KEY>.
Exit codes: 0 ok, 1 check failed or partly done, 2 usage, 3 configuration or rules invalid, 4 not found,
5 broker or database unreachable, 6 refused.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker
    Run,
    /// Run the worker on embedded parts, with a sample: nothing has to be installed
    Dev(dev::Command),
    /// What is set, where it came from, and whether a worker could start with it
    #[command(subcommand)]
    Config(config::Command),
    /// Ask the running worker how it is
    Health(health::Command),
    /// The database's schema, and who may do what in it
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// The exchanges and queues on the broker
    #[command(subcommand)]
    Topology(topology::Command),
    /// Events
    #[command(subcommand)]
    Events(events::Command),
    /// Exception requests
    #[command(subcommand)]
    Exceptions(exceptions::Command),
    /// Tickets, as far as exceptions named them
    #[command(subcommand)]
    Tickets(tickets::Command),
    /// How things stand: what is open, decided, in force, and what waits
    Stats(stats::Command),
    /// The rules file
    #[command(subcommand)]
    Rules(rules::Command),
    /// Events that could not be processed
    #[command(subcommand)]
    Failures(failures::Command),
    /// Events that wait for their submission
    #[command(subcommand)]
    Parked(parked::Command),
    /// What is to be published
    #[command(subcommand)]
    Outbox(outbox::Command),
    /// JSON Schemas of the events, and whether events are good ones
    #[command(subcommand)]
    Schema(schema::Command),
    /// Whether the history is what was written
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print what makes a shell complete this program's commands
    Completions(completions::Command),
    /// Print the manual page, or write a page for each command into a folder
    Man(man::Command),
}

/// Runs the command and says how the process should end.
pub fn main() -> ExitCode {
    // Ends the process with 2 on a usage error, with 0 on --help.
    let arguments = Arguments::from_arg_matches(&help::command().get_matches()).unwrap_or_else(|error| error.exit());
    let is_worker = matches!(arguments.command, Command::Run);
    let Err(error) = dispatch(arguments) else { return ExitCode::SUCCESS };
    if is_worker {
        // Its stderr is a log, read by machines. Without a valid configuration the log has not begun yet.
        telemetry::start(LogFormat::Auto, "info");
        tracing::error!(exit.code = error.code as u8, "{}", error.message);
    } else {
        output::tell(&format!("reprieve: {}", error.message));
    }
    error.code.into()
}

fn dispatch(arguments: Arguments) -> Result<(), ExitError> {
    let mut sources =
        Sources { flags: arguments.set, environment: std::env::vars_os().collect(), file: arguments.config };
    match &arguments.command {
        // They need no settings, and must work where those are bad.
        Command::Completions(command) => return completions::run(command),
        Command::Man(command) => return man::run(command),
        _ => (),
    }
    let (mut command, mut level) = (arguments.command, "info");
    if let Command::Dev(dev) = &mut command {
        sources = dev.settle(sources)?;
        // What happens is told to the person; the log adds what is wrong.
        level = "warn";
    }
    let output = Output::new(arguments.output, arguments.color);
    let runtime = || {
        let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        built.map_err(|error| ExitError::failed(format!("cannot start the runtime: {error}")))
    };
    if let Command::Config(command) = command {
        // Reads the configuration itself: a bad one is what it is asked about.
        return runtime()?.block_on(config::run(command, &sources, &output));
    }
    let config = Config::load(&sources)?;
    telemetry::start(config.log_format, level);
    let runtime = runtime()?;
    let result = runtime.block_on(run(command, &config, &output));
    // Whoever still reads a file that does not answer is not waited for.
    runtime.shutdown_background();
    result
}

async fn run(command: Command, config: &Config, output: &Output) -> Result<(), ExitError> {
    match command {
        Command::Config(_) => unreachable!("it is run before the configuration is read"),
        Command::Health(command) => health::run(&command, config, output).await,
        Command::Run => run::run(config).await,
        Command::Dev(command) => dev::run(command, config, output).await,
        Command::Migrate(command) => migrate::run(command, config, output).await,
        Command::Topology(command) => topology::run(command, config, output).await,
        Command::Events(command) => events::run(command, config, output).await,
        Command::Exceptions(command) => exceptions::run(command, config, output).await,
        Command::Tickets(command) => tickets::run(command, config, output).await,
        Command::Stats(command) => stats::run(command, config, output).await,
        Command::Rules(command) => rules::run(command, config, output).await,
        Command::Failures(command) => failures::run(command, config, output).await,
        Command::Parked(command) => parked::run(command, config, output).await,
        Command::Outbox(command) => outbox::run(command, config, output).await,
        Command::Schema(command) => schema::run(command, output),
        Command::Audit(command) => audit::run(command, config, output).await,
        Command::Completions(command) => completions::run(&command),
        Command::Man(command) => man::run(&command),
    }
}

impl From<ConfigError> for ExitError {
    fn from(error: ConfigError) -> Self {
        ExitError { code: Code::Configuration, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_after_the_verb() {
        let line = ["reprieve", "exceptions", "show", "EX-1", "-o", "jsonl", "--color", "never", "--set", "source=x"];
        let arguments = Arguments::try_parse_from(line).unwrap();
        assert!(arguments.output == Format::Jsonl && arguments.set == ["source=x"]);
        assert_eq!(Arguments::try_parse_from(["reprieve", "exceptions", "fly"]).unwrap_err().exit_code(), 2);
    }
}
