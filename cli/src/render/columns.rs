//! Two columns as Go's `text/tabwriter` aligns them.

const TAB: usize = 8;

/// Rows of ` key` and `value`, each cell padded with tabs to the next multiple of eight after the widest cell of its
/// column, so that lines end in tabs; scripts of Skupper 1 read this form
pub(crate) fn tabbed(rows: &[(String, String)]) -> String {
    let column = |cells: Vec<usize>| (cells.into_iter().max().unwrap_or(0) / TAB + 1) * TAB;
    let keys = column(
        rows.iter()
            .map(|(key, _)| key.chars().count() + 1)
            .collect(),
    );
    let values = column(
        rows.iter()
            .map(|(_, value)| value.chars().count())
            .collect(),
    );
    let pad = |width: usize, column: usize| "\t".repeat((column - width).div_ceil(TAB));
    rows.iter()
        .map(|(key, value)| {
            format!(
                " {key}{}{value}{}\n",
                pad(key.chars().count() + 1, keys),
                pad(value.chars().count(), values)
            )
        })
        .collect()
}

/// Rows of `key: value` with the values below each other
pub(crate) fn aligned(rows: &[(String, String)]) -> String {
    let width = rows
        .iter()
        .map(|(key, _)| key.chars().count() + 1)
        .max()
        .unwrap_or(0);
    rows.iter()
        .map(|(key, value)| format!("{:width$} {value}\n", format!("{key}:")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn tabs_reach_the_column_after_the_widest_cell() {
        let text = tabbed(&[
            row("Cost:", "1"),
            row("Created:", "2022-10-24 12:50:33 +0100 IST"),
            row("Name:", "link1"),
        ]);
        // widest key 9 characters with its space, widest value 29
        assert_eq!(
            text,
            " Cost:\t\t1\t\t\t\t\n Created:\t2022-10-24 12:50:33 +0100 IST\t\n Name:\t\tlink1\t\t\t\t\n"
        );
    }

    #[test]
    fn a_cell_as_wide_as_a_tab_stop_goes_to_the_next() {
        assert_eq!(
            tabbed(&[row("1234567", "12345678")]),
            " 1234567\t12345678\t\n"
        );
    }

    #[test]
    fn values_stand_below_each_other() {
        assert_eq!(
            aligned(&[row("a", "1"), row("site name", "west")]),
            "a:         1\nsite name: west\n"
        );
    }
}
