import CUdev
import Primitives

/// A connection to udev's database, for one thread.
final class Udev {
    // SAFETY: the context belongs to this object alone; devices hold a reference of their own.
    private let handle: OpaquePointer

    init?() {
        guard let handle = udev_new() else { return nil }
        self.handle = handle
    }

    deinit { udev_unref(handle) }

    /// The devices of `subsystem`, by path in sysfs, at most `limit`.
    func devices(subsystem: String, limit: Int) -> [UdevDevice] {
        guard let enumerate = udev_enumerate_new(handle) else { return [] }
        defer { udev_enumerate_unref(enumerate) }
        udev_enumerate_add_match_subsystem(enumerate, subsystem)
        udev_enumerate_scan_devices(enumerate)
        var devices: [UdevDevice] = []
        var entry = udev_enumerate_get_list_entry(enumerate)
        while let current = entry, devices.count < limit {
            if let path = udev_list_entry_get_name(current), let device = udev_device_new_from_syspath(handle, path) {
                devices.append(UdevDevice(owning: device))
            }
            entry = udev_list_entry_get_next(current)
        }
        return devices
    }
}

/// One device, with what sysfs and the rules of udev say of it.
final class UdevDevice {
    // SAFETY: the reference belongs to this object alone; strings it lends are copied at once.
    private let handle: OpaquePointer

    init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { udev_device_unref(handle) }

    /// The kernel's name.
    var name: String { udev_device_get_sysname(handle).map { String(cString: $0) } ?? "" }
    /// The directory in sysfs.
    var path: String { udev_device_get_syspath(handle).map { String(cString: $0) } ?? "" }
    /// The node in /dev.
    var node: String? { udev_device_get_devnode(handle).map { String(cString: $0) } }

    /// A property that a rule of udev set; nil when it is absent or empty.
    func property(_ name: String) -> String? { text(udev_device_get_property_value(handle, name)) }

    /// A file of the device's directory in sysfs; nil when it is absent or empty.
    func attribute(_ name: String) -> String? { text(udev_device_get_sysattr_value(handle, name)) }

    /// The first device above this one that is of `subsystem`: its name and a file of its directory.
    func parent(subsystem: String) -> (name: String, attribute: (String) -> String?)? {
        // A parent is borrowed from its child, which the closure keeps.
        guard let parent = udev_device_get_parent_with_subsystem_devtype(handle, subsystem, nil),
            let name = udev_device_get_sysname(parent)
        else { return nil }
        return (String(cString: name), { [self] in text(udev_device_get_sysattr_value(parent, $0)) })
    }

    private func text(_ pointer: UnsafePointer<CChar>?) -> String? {
        guard let pointer else { return nil }
        let bytes = Array(String(cString: pointer).utf8)
        guard let first = bytes.firstIndex(where: { $0 > 0x20 }), let last = bytes.lastIndex(where: { $0 > 0x20 })
        else { return nil }
        return String(decoding: bytes[first...last], as: UTF8.self)
    }
}
