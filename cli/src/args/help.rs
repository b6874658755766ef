//! Help and usage pages in cobra's layout.

use clap::Command;

/// The help of the command that the words name, as far as they name one
pub(crate) fn page(root: &Command, words: &[String]) -> String {
    let known = resolve(root, words);
    let command = find(root, &known);
    let about = command
        .get_long_about()
        .or_else(|| command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{about}\n\n{}", usage(root, words))
}

/// The same without the description, as printed after an error in the command line
pub(crate) fn usage(root: &Command, words: &[String]) -> String {
    let known = resolve(root, words);
    let command = find(root, &known);
    let path = std::iter::once("skupper")
        .chain(known.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    let mut out = String::from("Usage:\n");
    if command.has_subcommands() {
        out.push_str(&format!("  {path} [command]\n"));
        out.push_str("\nAvailable Commands:\n");
        let visible: Vec<&Command> = command
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set())
            .collect();
        let width = visible
            .iter()
            .map(|sub| sub.get_name().len())
            .max()
            .unwrap_or(0)
            .max(11);
        for sub in visible {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            out.push_str(&format!("  {:width$} {about}\n", sub.get_name()));
        }
    } else {
        let words: String = command
            .get_positionals()
            .filter(|argument| !argument.is_hide_set())
            .flat_map(|argument| argument.get_value_names().unwrap_or_default())
            .map(|name| format!(" {name}"))
            .collect();
        out.push_str(&format!("  {path}{words} [flags]\n"));
    }
    let (global, own): (Vec<_>, Vec<_>) = command
        .get_opts()
        .chain(
            if known.is_empty() {
                None
            } else {
                Some(root.get_opts())
            }
            .into_iter()
            .flatten(),
        )
        .filter(|argument| !argument.is_hide_set() && argument.get_long() != Some("help"))
        .partition(|argument| argument.is_global_set() && !known.is_empty());
    let help_of = known.last().map_or("skupper", String::as_str);
    let mut lines: Vec<(String, String)> = own.into_iter().map(flag_line).collect();
    lines.push(("  -h, --help".to_owned(), format!("help for {help_of}")));
    section(&mut out, "Flags", &lines);
    let lines: Vec<(String, String)> = global.into_iter().map(flag_line).collect();
    section(&mut out, "Global Flags", &lines);
    if command.has_subcommands() {
        out.push_str(&format!(
            "\nUse \"{path} [command] --help\" for more information about a command.\n"
        ));
    }
    out
}

/// The words that name commands of the tree
pub(crate) fn resolve(root: &Command, words: &[String]) -> Vec<String> {
    let mut current = root;
    let mut known = Vec::new();
    for word in words {
        let Some(found) = current.find_subcommand(word) else {
            break;
        };
        known.push(found.get_name().to_owned());
        current = found;
    }
    known
}

/// Whether the words name a command that only holds other commands
pub(crate) fn is_parent(root: &Command, known: &[String]) -> bool {
    find(root, known).has_subcommands()
}

fn find<'a>(root: &'a Command, known: &[String]) -> &'a Command {
    known.iter().fold(root, |command, word| {
        command.find_subcommand(word).unwrap_or(command)
    })
}

fn section(out: &mut String, title: &str, lines: &[(String, String)]) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("\n{title}:\n"));
    let width = lines.iter().map(|(flag, _)| flag.len()).max().unwrap_or(0);
    for (flag, text) in lines {
        out.push_str(&format!("{flag:width$}   {text}\n"));
    }
}

fn flag_line(argument: &clap::Arg) -> (String, String) {
    let long = argument.get_long().unwrap_or_default();
    let mut flag = match argument.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    let kind = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map_or("string", |name| name.as_str());
    if kind != "bool" {
        flag.push_str(&format!(" {kind}"));
    }
    let mut text = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let default: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if kind != "bool" && !default.is_empty() {
        let default = default.join(",");
        let shown = if kind == "string" {
            format!("{default:?}")
        } else {
            default
        };
        text.push_str(&format!(" (default {shown})"));
    }
    (flag, text)
}
