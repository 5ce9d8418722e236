// What libFuzzer calls. MUSTER_FUZZ_TARGET names the target; `list` prints all, with the most bytes of an input.

import Dispatch
import Glibc

private let target: FuzzTarget = {
    let name = getenv("MUSTER_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    if name == "list" {
        for target in FuzzTarget.all { print(target.name, target.sizeMax) }
        fflush(nil)
        _exit(0)
    }
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        fatalError("MUSTER_FUZZ_TARGET names no target: '\(name)'")
    }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    let target = target
    let done = DispatchSemaphore(value: 0)
    // On a thread of Swift's pool, where the programs run it, so that a stack is as deep as theirs.
    // Waited for below.
    Task {
        do { try await target.run(bytes) } catch { fatalError("\(target): expected \(error)") }
        done.signal()
    }
    done.wait()
    return 0
}
