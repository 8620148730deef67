//! `reprieve completions`: a script that makes a shell complete nouns, verbs and options.

use std::io::{Write as _, stdout};

use clap::Args;
use clap_complete::{Shell, generate};

use super::{ExitError, help};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The shell
    shell: Shell,
}

pub(super) fn run(command: &Command) -> Result<(), ExitError> {
    // The generator panics where it cannot write, as when `head` has seen enough.
    let script = script(command.shell);
    match stdout().lock().write_all(&script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(ExitError::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    generate(shell, &mut help::command(), "reprieve", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = String::from_utf8(script(shell)).unwrap();
            for word in ["failures", "verify", "against"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    /// Where there is a bash.
    #[test]
    fn bash_reads_its_script() {
        let bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn();
        let Ok(mut bash) = bash else { return };
        bash.stdin.take().unwrap().write_all(&script(Shell::Bash)).unwrap();
        assert!(bash.wait().unwrap().success());
    }
}
