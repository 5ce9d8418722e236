/// Rows under titles that fit into a width: flexible columns are cut, then the least important ones left out.
struct Table {
    /// A column.
    struct Column {
        /// The title.
        var title: String
        /// 1 is never left out; higher ones are left out first.
        var priority: Int
        /// The width down to which it may be cut; nil: it is never cut.
        var least: Int?
        /// Whether numbers stand to the right.
        var isRightAligned = false

        init(_ title: String, priority: Int, least: Int? = nil, isRightAligned: Bool = false) {
            self.title = title
            self.priority = priority
            self.least = least
            self.isRightAligned = isRightAligned
        }
    }

    /// A text in a style.
    struct Cell: ExpressibleByStringInterpolation {
        var text: String
        var style: Style

        init(_ text: String, _ style: Style = .plain) {
            self.text = text
            self.style = style
        }

        init(stringLiteral value: String) { self.init(value) }
    }

    private static let gap = 2

    let columns: [Column]
    var rows: [[Cell]] = []

    init(_ columns: [Column]) { self.columns = columns }

    /// The lines for `terminal`, the titles first.
    func lines(for terminal: Terminal) -> [String] {
        let widths = widths(within: terminal.width)
        let shown = widths.indices.filter { widths[$0] != nil }
        let title = line(columns.map { Cell($0.title, .dim) }, shown, widths, terminal)
        return [title] + rows.map { line($0, shown, widths, terminal) }
    }

    /// Each column's width; nil for one that is left out.
    private func widths(within limit: Int?) -> [Int?] {
        let natural = columns.indices.map { index in
            max(columns[index].title.count, rows.map { $0[index].text.count }.max() ?? 0)
        }
        guard let limit else { return natural }
        var isShown = [Bool](repeating: true, count: columns.count)
        while true {
            let shown = columns.indices.filter { isShown[$0] }
            var widths = natural
            var excess = shown.map { widths[$0] }.reduce(0, +) + Self.gap * (shown.count - 1) - limit
            for index in shown.sorted(by: { columns[$0].priority > columns[$1].priority }) where excess > 0 {
                guard let least = columns[index].least else { continue }
                let cut = min(excess, max(0, widths[index] - max(least, columns[index].title.count)))
                widths[index] -= cut
                excess -= cut
            }
            let droppable = shown.filter { columns[$0].priority > 1 }
            let worst = droppable.max { columns[$0].priority < columns[$1].priority }
            guard excess > 0, let worst else { return columns.indices.map { isShown[$0] ? widths[$0] : nil } }
            isShown[worst] = false
        }
    }

    private func line(_ cells: [Cell], _ shown: [Int], _ widths: [Int?], _ terminal: Terminal) -> String {
        var line = ""
        for (position, index) in shown.enumerated() {
            let width = widths[index] ?? 0
            let text = cells[index].text.cut(to: width)
            let padding = String(repeating: " ", count: width - text.count)
            let styled = terminal.styled(text, cells[index].style)
            let isLast = position == shown.count - 1
            line += columns[index].isRightAligned ? padding + styled : styled + (isLast ? "" : padding)
            if !isLast { line += String(repeating: " ", count: Self.gap) }
        }
        return line
    }
}

extension String {
    /// This text, or its beginning and an ellipsis, in at most `width` characters.
    func cut(to width: Int) -> String {
        guard count > width else { return self }
        return width < 1 ? "" : prefix(width - 1) + "…"
    }

    /// This text broken between words into lines of at most `width` characters.
    func wrapped(to width: Int?) -> [String] {
        guard let width, count > width else { return [self] }
        var lines: [String] = []
        var line = ""
        for word in split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        return lines + [line]
    }
}
