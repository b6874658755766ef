use super::*;

fn budget(limit: u64) -> &'static Budget {
    Box::leak(Box::new(Budget::new(limit)))
}

/// A flow over a path of `round_trip` that carries `rate` octets a second at most; the client takes `client` a second.
struct Path {
    granter: Granter,
    written: u64,
    now: Instant,
}

impl Path {
    fn new(limit: u64) -> (Self, &'static Budget) {
        let budget = budget(limit);
        let path = Self {
            granter: Granter::with_budget(Framing::Lite, budget),
            written: 0,
            now: Instant::now(),
        };
        (path, budget)
    }

    /// Moves `octets` and returns the window at the end.
    fn run(&mut self, octets: u64, round_trip: f64, rate: f64, client: f64) -> u64 {
        let end = self.written + octets;
        while self.written < end {
            let window = self.granter.window as f64;
            let network = rate.min(window / round_trip);
            let speed = network.min(client);
            self.written += 65_536;
            self.now += Duration::from_secs_f64(65_536.0 / speed);
            if self.granter.is_due(self.written) {
                let waiting = if client < network { window as usize } else { 0 };
                self.granter.report(self.written, waiting, self.now);
            }
        }
        self.granter.window
    }
}

#[test]
fn a_long_fat_path_is_filled() {
    let (mut path, _) = Path::new(BUDGET);
    let window = path.run(200_000_000, 0.050, 125e6, 1e9);
    assert!(window >= 6_250_000, "{window}");
    assert!(window <= MOST);
}

#[test]
fn nothing_is_granted_to_who_would_not_use_it() {
    let (mut path, budget) = Path::new(BUDGET);
    path.granter.keep_fixed();
    path.run(200_000_000, 0.050, 125e6, 1e9);
    assert_eq!(path.granter.report(path.written, 0, path.now).0, 0);
    assert_eq!(budget.left.load(Ordering::Relaxed), BUDGET);
}

#[test]
fn a_short_path_keeps_the_fixed_window() {
    let (mut path, budget) = Path::new(BUDGET);
    path.run(2_000_000_000, 0.000_2, 1e9, 1e9);
    assert_eq!(path.granter.window, Framing::Lite.window());
    // A source that is slow by itself does not become faster by a larger window.
    path.run(500_000_000, 0.000_2, 20e6, 1e9);
    path.run(20_000_000, 0.000_2, 1e9, 1e9);
    drop(path);
    assert_eq!(budget.left.load(Ordering::Relaxed), BUDGET);
}

#[test]
fn a_slow_client_gets_a_small_window_and_a_recovered_one_its_own_again() {
    let (mut path, _) = Path::new(BUDGET);
    assert_eq!(path.run(20_000_000, 0.000_2, 1e9, 1e6), LEAST);
    assert!(path.run(20_000_000, 0.000_2, 1e9, 1e9) >= Framing::Lite.window());
}

#[test]
fn the_budget_bounds_all_flows_and_gets_everything_back() {
    let (mut first, budget) = Path::new(MOST);
    let large = first.run(400_000_000, 0.200, 125e6, 1e9);
    assert!(large > MOST / 2, "{large}");
    let mut second = Path {
        granter: Granter::with_budget(Framing::Legacy, budget),
        ..Path::new(0).0
    };
    let small = second.run(400_000_000, 0.200, 125e6, 1e9);
    let over = (large - Framing::Lite.window()) + (small - Framing::Legacy.window());
    assert_eq!(budget.left.load(Ordering::Relaxed), MOST - over);
    drop((first, second));
    assert_eq!(budget.left.load(Ordering::Relaxed), MOST);
}

#[test]
fn grants_of_peers_are_believed_within_bounds() {
    assert_eq!(granted(0), None);
    assert_eq!(granted(1), Some(LEAST));
    assert_eq!(granted(32), Some(2 * 1024 * 1024));
    assert_eq!(granted(u32::MAX), Some(MOST));
}

#[test]
fn reports_come_before_any_reader_needs_them() {
    let mut granter = Granter::with_budget(Framing::Lite, budget(0));
    assert!(!granter.is_due(FIRST_REPORT - 1));
    assert!(granter.is_due(FIRST_REPORT));
    let (units, offset) = granter.report(FIRST_REPORT, 0, Instant::now());
    assert_eq!((granted(units), offset), (Some(15 * UNIT), FIRST_REPORT));
    // A reader that holds to the smallest window is told before it has used half of it.
    granter.window = LEAST;
    assert!(granter.is_due(FIRST_REPORT + LEAST / 2));
}
