use super::*;
use clap::CommandFactory;

/// Every command below `command`, with the words that call it.
fn all(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
    let mut found = vec![(path.to_owned(), command.clone())];
    for sub in command.get_subcommands() {
        found.extend(all(sub, &format!("{path} {}", sub.get_name())));
    }
    found
}

fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let lines = help.lines().filter(|line| line.starts_with("  "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// The words of an example's patchpost command, as a shell would split them.
fn words(example: &str) -> Vec<&str> {
    let command = example.split(['|', '>']).next().unwrap_or_default();
    let parts = command.split('\'').enumerate();
    parts
        .flat_map(|(n, part)| match n % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        })
        .collect()
}

#[test]
fn every_command_says_what_it_does_and_shows_an_example_of_itself() {
    Cli::command().debug_assert();
    let commands = all(&Cli::command(), "patchpost");
    assert!(commands.len() > 25);
    for (path, command) in commands {
        assert!(command.get_about().is_some(), "{path} says nothing");
        let own = examples(&command).into_iter();
        let own = own.filter(|example| example.starts_with(&path));
        assert!(own.count() > 0, "{path} has no example of itself");
        for argument in command.get_arguments() {
            let said = argument.get_help().is_some();
            assert!(said, "{path} {} says nothing", argument.get_id());
        }
    }
}

#[test]
fn every_example_is_a_command_that_works() {
    for (_, command) in all(&Cli::command(), "patchpost") {
        for example in examples(&command) {
            if let Err(error) = Cli::try_parse_from(words(&example)) {
                panic!("{example}\n{error}");
            }
        }
    }
}

#[test]
fn listings_take_json_and_every_command_takes_data_and_config() {
    for listing in [
        "list ls",
        "list show dev",
        "repo ls",
        "member ls dev",
        "series ls",
        "series show 1",
        "series range-diff 1 v1 v2",
        "jobs",
        "events",
        "events dev",
    ] {
        let line = format!("patchpost {listing} --json --data d --config c");
        let cli = Cli::try_parse_from(line.split(' ')).expect(listing);
        assert_eq!(cli.data, PathBuf::from("d"));
        assert_eq!(cli.config, Some(PathBuf::from("c")));
    }
}

#[test]
fn a_repository_has_exactly_one_source() {
    for (options, fine) in [
        ("--init", true),
        ("--path d", true),
        ("", false),
        ("--init --path d", false),
        ("--clone u --path d", false),
    ] {
        let line = format!("patchpost repo add tool {options}");
        let parsed = Cli::try_parse_from(line.split_whitespace());
        assert_eq!(parsed.is_ok(), fine, "{line}");
    }
}
