//! Logging by modules, as the `log` entities of the configuration say, changeable while running.
//!
//! Modules are those of C routers; each covers some tracing targets of this crate. What a module does not say, `DEFAULT`
//! says.

pub mod journal;
mod modules;
mod output;
mod recent;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use model::router_config::LogEntity;
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer as _, Registry,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    layer::{Context, Filter, SubscriberExt as _},
    registry::{LookupSpan, Scope},
    reload,
    util::SubscriberInitExt as _,
};

pub use self::recent::{LogCounts, LogLine, Recent};
use self::{journal::Journal, modules::Settings, output::Output, recent::Recorder};

/// How events are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// `<RFC 3339 time> <MODULE> (<level>) <message> <key>=<value>…`, one line per event. What goes to the journal of
    /// systemd has its priority in front (sd-daemon(3)) and no time, which the journal has itself.
    #[default]
    Text,
    /// One JSON object per line; always with time, target and spans.
    Json,
}

/// Changes what is logged.
#[derive(Clone, Debug)]
pub struct LogHandle {
    settings: Arc<ArcSwap<Settings>>,
    filter: reload::Handle<ModuleFilter, Registry>,
    recent: Arc<Recent>,
}

impl LogHandle {
    /// What was written lately.
    pub fn recent(&self) -> Arc<Recent> {
        self.recent.clone()
    }

    /// Applies a new configuration; the old one is forgotten. Output files are opened anew, so this also follows their
    /// rotation. One that cannot be opened is replaced by standard error, with a warning there.
    pub fn apply(&self, config: &[LogEntity]) {
        let (settings, problems) = Settings::new(config);
        let settings = Arc::new(settings);
        self.settings.store(settings.clone());
        // fails only when the subscriber is gone, and nothing is logged any more
        let _ = self.filter.reload(ModuleFilter { settings });
        for problem in problems {
            tracing::warn!(target: "router::logging", "{problem}");
        }
    }
}

/// Starts logging for the whole process. If something else logs already, it stays, and the handle has no effect.
pub fn init(config: &[LogEntity], format: Format) -> LogHandle {
    let (subscriber, handle) = subscriber(config, format);
    if subscriber.try_init().is_ok() {
        // again, now that problems can be told
        handle.apply(config);
    }
    handle
}

/// The subscriber that writes what the configuration says.
fn subscriber(
    config: &[LogEntity],
    format: Format,
) -> (impl Subscriber + Send + Sync + 'static, LogHandle) {
    let settings = Arc::new(Settings::new(config).0);
    let (filter, filter_handle) = reload::Layer::new(ModuleFilter {
        settings: settings.clone(),
    });
    let settings = Arc::new(ArcSwap::new(settings));
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Outputs(settings.clone()));
    let layer = match format {
        Format::Text => layer
            .event_format(Line {
                settings: settings.clone(),
                journal: Journal::of_process(),
            })
            .boxed(),
        Format::Json => layer.json().boxed(),
    };
    let recent = Arc::new(Recent::default());
    let layer = layer.and_then(Recorder(recent.clone()));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    (
        subscriber,
        LogHandle {
            settings,
            filter: filter_handle,
            recent,
        },
    )
}

/// Decides by the module of the target and its levels.
#[derive(Debug)]
struct ModuleFilter {
    settings: Arc<Settings>,
}

impl<S> Filter<S> for ModuleFilter {
    fn enabled(&self, meta: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.settings
            .rule(meta.target())
            .levels
            .contain(*meta.level())
    }

    fn callsite_enabled(&self, meta: &'static Metadata<'static>) -> Interest {
        if self
            .settings
            .rule(meta.target())
            .levels
            .contain(*meta.level())
        {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.settings.most_verbose())
    }
}

/// Chooses where an event is written by its module.
struct Outputs(Arc<ArcSwap<Settings>>);

impl MakeWriter<'_> for Outputs {
    type Writer = Output;

    fn make_writer(&self) -> Output {
        self.0.load().rule("").output.clone()
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Output {
        self.0.load().rule(meta.target()).output.clone()
    }
}

/// The text form of an event.
struct Line {
    settings: Arc<ArcSwap<Settings>>,
    journal: Journal,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let settings = self.settings.load();
        let rule = settings.rule(meta.target());
        if self.journal.reads(&rule.output) {
            write!(writer, "<{}>", journal::priority(*meta.level()))?;
        } else if rule.timestamp {
            SystemTime.format_time(&mut writer)?;
            writer.write_char(' ')?;
        }
        let module = modules::module_of(meta.target()).unwrap_or(meta.target());
        write!(writer, "{module} ({}) ", modules::level_name(*meta.level()))?;
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            write!(writer, "{}", span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(writer, "{{{fields}}}")?;
            }
            writer.write_str(": ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        if let (true, Some(file), Some(line)) = (rule.source, meta.file(), meta.line()) {
            write!(writer, " ({file}:{line})")?;
        }
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use model::router_config::{LogLevel, LogSelector};
    use tempfile::TempDir;
    use tracing::subscriber::with_default;

    use super::*;

    struct Files(TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// An entity that writes to a file of its own.
        fn log(&self, module: &str, enable: &[(LogLevel, bool)], file: &str) -> LogEntity {
            let enable = enable
                .iter()
                .map(|&(level, and_above)| LogSelector { level, and_above });
            LogEntity {
                module: module.to_owned(),
                enable: enable.collect(),
                include_timestamp: Some(false),
                include_source: None,
                output_file: Some(self.path(file).to_str().unwrap().to_owned()),
            }
        }

        fn take(&self, name: &str) -> Vec<String> {
            let text = fs::read_to_string(self.path(name)).unwrap_or_default();
            let _ = fs::write(self.path(name), "");
            text.lines().map(str::to_owned).collect()
        }
    }

    fn speak() {
        tracing::trace!(target: "router::core::forward", "core trace");
        tracing::info!(target: "router::core::forward", "core info");
        tracing::warn!(target: "router::core", number = 7, "core warning");
        tracing::error!(target: "router::core", "core error");
        tracing::info!(target: "router::routing::hello", "hello info");
        tracing::info!(target: "elsewhere", "other info");
        tracing::debug!(target: "elsewhere", "other debug");
    }

    #[test]
    fn modules_have_their_own_levels_and_files() {
        let files = Files::new();
        let config = [
            files.log("DEFAULT", &[(LogLevel::Info, true)], "default"),
            files.log(
                "ROUTER_CORE",
                &[(LogLevel::Trace, false), (LogLevel::Error, true)],
                "core",
            ),
            files.log("ROUTER_HELLO", &[], "hello"),
        ];
        let (subscriber, _handle) = subscriber(&config, Format::Text);
        with_default(subscriber, speak);
        assert_eq!(files.take("default"), ["elsewhere (info) other info"]);
        assert_eq!(
            files.take("core"),
            [
                "ROUTER_CORE (trace) core trace",
                "ROUTER_CORE (error) core error"
            ]
        );
        assert!(files.take("hello").is_empty());
        let mode = fs::metadata(files.path("core"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_new_configuration_applies_to_what_runs() {
        let files = Files::new();
        let quiet = [files.log("DEFAULT", &[(LogLevel::Error, true)], "default")];
        let (subscriber, handle) = subscriber(&quiet, Format::Text);
        with_default(subscriber, || {
            speak();
            assert_eq!(files.take("default"), ["ROUTER_CORE (error) core error"]);
            let core = files.log("ROUTER_CORE", &[(LogLevel::Warning, true)], "core");
            handle.apply(&[quiet[0].clone(), core]);
            speak();
            assert!(files.take("default").is_empty());
            assert_eq!(
                files.take("core"),
                [
                    "ROUTER_CORE (warning) core warning number=7",
                    "ROUTER_CORE (error) core error"
                ]
            );
            handle.apply(&quiet);
            speak();
            assert_eq!(files.take("default"), ["ROUTER_CORE (error) core error"]);
            assert!(files.take("core").is_empty());
        });
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let files = Files::new();
        let config = [files.log("DEFAULT", &[(LogLevel::Error, true)], "log")];
        let (subscriber, handle) = subscriber(&config, Format::Text);
        with_default(subscriber, || {
            speak();
            fs::rename(files.path("log"), files.path("log.1")).unwrap();
            handle.apply(&config);
            speak();
        });
        assert_eq!((files.take("log").len(), files.take("log.1").len()), (1, 1));
    }

    #[test]
    fn time_source_and_spans_are_shown_when_asked() {
        let files = Files::new();
        let mut log = files.log("DEFAULT", &[(LogLevel::Info, true)], "log");
        log.include_timestamp = None;
        log.include_source = Some(true);
        let (subscriber, _handle) = subscriber(&[log], Format::Text);
        with_default(subscriber, || {
            let _span = tracing::info_span!(target: "router::net", "connection", id = 3).entered();
            tracing::info!(target: "router::net::listener", "opened");
        });
        let lines = files.take("log");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert!(
            rest.starts_with("SERVER (info) connection{id=3}: opened ("),
            "{rest}"
        );
        assert!(rest.contains("logging.rs:"), "{rest}");
    }

    #[test]
    fn what_is_written_is_kept_for_management() {
        let files = Files::new();
        let config = [files.log("DEFAULT", &[(LogLevel::Warning, true)], "log")];
        let (subscriber, handle) = subscriber(&config, Format::Text);
        with_default(subscriber, || {
            speak();
            for _ in 0..1000 {
                tracing::warn!(target: "router::core", long = "x".repeat(5000), "more");
            }
        });
        let lines = handle.recent().lines();
        assert_eq!(lines.len(), 500);
        assert!(lines.iter().all(|line| line.text.len() <= 2048));
        let counts = handle.recent().counts();
        let core = LogCounts {
            warning: 1001,
            error: 1,
            ..LogCounts::default()
        };
        assert_eq!(
            counts.into_iter().collect::<Vec<_>>(),
            [("ROUTER_CORE", core)]
        );
    }

    #[test]
    fn a_kept_line_has_message_and_fields() {
        let files = Files::new();
        let config = [files.log("DEFAULT", &[(LogLevel::Warning, true)], "log")];
        let (subscriber, handle) = subscriber(&config, Format::Text);
        with_default(subscriber, speak);
        let lines = handle.recent().lines();
        let first = &lines[0];
        assert_eq!(
            (first.module, first.level, first.text.as_str()),
            ("ROUTER_CORE", "warning", "core warning number=7")
        );
        assert!(first.file.unwrap().ends_with("logging.rs") && first.unix_seconds > 0);
    }

    #[test]
    fn json_lines_are_objects() {
        let files = Files::new();
        let config = [files.log("DEFAULT", &[(LogLevel::Warning, true)], "log")];
        let (subscriber, _handle) = subscriber(&config, Format::Json);
        with_default(subscriber, speak);
        let lines = files.take("log");
        let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(first["level"], "WARN");
        assert_eq!(first["target"], "router::core");
        assert_eq!(first["fields"]["message"], "core warning");
        assert_eq!(first["fields"]["number"], 7);
        assert!(
            first["timestamp"]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .is_ok()
        );
    }
}
