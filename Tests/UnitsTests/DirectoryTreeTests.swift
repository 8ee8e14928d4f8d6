import Glibc
import JouledTestKit
import Testing
import Units

@Suite("Directories")
struct DirectoryTreeTests {
    @Test("Names are in the order of their bytes, hidden ones too; what cannot be read has none")
    func names() {
        let directory = TemporaryDirectory()
        for name in ["b", ".hidden", "ä", "B", "a.toml"] { directory.write(name, "") }
        #expect(DirectoryTree.names(in: directory.path) == [".hidden", "B", "a.toml", "b", "ä"])
        #expect(DirectoryTree.names(in: directory("b")) == nil)
        #expect(errno == ENOTDIR)
        #expect(DirectoryTree.names(in: directory("none")) == nil)
    }

    @Test("A tree goes with all that is in it, and what its links lead to stays")
    func remove() {
        let directory = TemporaryDirectory()
        directory.write("tree/deep/file", "x")
        directory.write("kept/file", "x")
        symlink(directory("kept"), directory("tree/link"))
        DirectoryTree.remove(directory("tree"))
        #expect(DirectoryTree.names(in: directory.path) == ["kept"])
        #expect(DirectoryTree.names(in: directory("kept")) == ["file"])
        DirectoryTree.remove(directory("none"))
    }
}
