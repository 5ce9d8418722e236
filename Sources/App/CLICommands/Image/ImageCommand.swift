import ArgumentParser

struct ImageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image", abstract: "Bring images to the conductor.",
        subcommands: [ImageList.self, ImagePush.self, ImagePushRamdisk.self])
}
