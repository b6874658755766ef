//! Spellings that the documentation shows and an option parser does not expect.

/// Long flags that the documentation writes with one dash
const SINGLE_DASH: [&str; 2] = ["name", "token-type"];

/// Switches that the documentation sets with a separate word
const SEPARATE_BOOLEAN: [&str; 1] = ["--enable-service-sync"];

/// Rewrites `-name x` to `--name x` and `--enable-service-sync false` to `--enable-service-sync=false`; what follows
/// `--` stays as it is
pub(crate) fn normalize(arguments: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            out.push(argument.clone());
            out.extend(arguments.cloned());
            return out;
        }
        if let Some(rest) = argument.strip_prefix('-')
            && SINGLE_DASH.contains(&rest.split('=').next().unwrap_or(rest))
        {
            out.push(format!("--{rest}"));
            continue;
        }
        if SEPARATE_BOOLEAN.contains(&argument.as_str())
            && let Some(word) =
                arguments.next_if(|next| next.as_str() == "true" || next.as_str() == "false")
        {
            out.push(format!("{argument}={word}"));
            continue;
        }
        out.push(argument.clone());
    }
    out
}
