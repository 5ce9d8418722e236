import AgentProtocol
import CLinux
import Glibc
import IPMI

/// The machine's own BMC behind the kernel's IPMI device.
enum OwnBMCDevice {
    /// Where the kernel or udev puts it.
    static let paths = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"]
    /// For one command; KCS interfaces are slow.
    static let time: Duration = .seconds(5)

    /// What the BMC tells; nil when there is none, or it does not answer.
    static func read() -> InventoryReport.BMC? {
        guard let descriptor = paths.lazy.map({ open($0, O_RDWR | O_CLOEXEC) }).first(where: { $0 >= 0 }) else {
            return nil
        }
        defer { close(descriptor) }
        var number: Int64 = 0
        var isSilent = false
        let found = OwnBMC { request in
            // One that has hung once is not waited for again.
            guard !isSilent else { return nil }
            number += 1
            var answer = [UInt8](repeating: 0, count: 64)
            var length: UInt16 = 0
            let code = clinux_ipmi_request(
                descriptor, request.function, request.command, request.data, UInt16(request.data.count), number,
                Int32(time.components.seconds * 1000), &answer, UInt16(answer.count), &length)
            isSilent = code == ETIMEDOUT
            return code == 0 ? OwnBMCAnswer(Array(answer.prefix(Int(length)))) : nil
        }
        return found.map {
            InventoryReport.BMC(
                address: $0.address, mac: $0.mac, firmwareVersion: $0.firmwareVersion, guid: $0.guid)
        }
    }
}
