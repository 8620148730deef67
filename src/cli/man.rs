//! `reprieve man`: the manual, made of the same words as `--help`. One page to read at once, or a page for each command to
//! install.

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use clap::Args;
use clap_mangen::{Man, generate_to};

use super::{ExitError, help};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Write a page for each command into this folder, instead of the first one to standard output
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(command: &Command) -> Result<(), ExitError> {
    let Some(folder) = &command.folder else {
        let mut page = Vec::new();
        let made = Man::new(help::command()).render(&mut page).and_then(|()| stdout().lock().write_all(&page));
        return match made {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(ExitError::failed(format!("cannot write to stdout: {error}")))
            }
            _ => Ok(()),
        };
    };
    let made = std::fs::create_dir_all(folder).and_then(|()| generate_to(help::pages(), folder));
    made.map_err(|error| ExitError::failed(format!("cannot write pages into {}: {error}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = std::env::temp_dir().join(format!("reprieve-{}", uuid::Uuid::new_v4()));
        run(&Command { folder: Some(folder.clone()) }).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(page("reprieve.1").contains("Exit codes"));
        assert!(page("reprieve-failures-retry.1").contains("reprieve failures retry"));
        assert!(!folder.join("reprieve-failures-help.1").exists(), "no page about help");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
