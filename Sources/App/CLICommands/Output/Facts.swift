/// Names with values below each other, long values wrapped.
struct Facts {
    private var entries: [(name: String, value: String, style: Style)] = []

    /// Adds a value; nothing when it is nil or empty.
    mutating func add(_ name: String, _ value: String?, _ style: Style = .plain) {
        guard let value, !value.isEmpty else { return }
        entries.append((name, value, style))
    }

    /// The lines for `terminal`, each after `indent` blanks.
    func lines(for terminal: Terminal, indent: Int = 0) -> [String] {
        let width = (entries.map(\.name.count).max() ?? 0) + 2
        let margin = String(repeating: " ", count: indent)
        return entries.flatMap { entry in
            let room = terminal.width.map { max(20, $0 - indent - width) }
            return entry.value.wrapped(to: room).enumerated().map { index, line in
                let name = index == 0 ? entry.name : ""
                let padding = String(repeating: " ", count: width - name.count)
                return margin + terminal.styled(name, .dim) + padding + terminal.styled(line, entry.style)
            }
        }
    }
}

extension Terminal {
    /// `head`, `indent` characters wide, then `text` wrapped beside it.
    func hanging(_ head: String, _ indent: Int, _ text: String) -> [String] {
        text.wrapped(to: width.map { max(20, $0 - indent) }).enumerated().map { index, line in
            (index == 0 ? head : String(repeating: " ", count: indent)) + line
        }
    }
}
